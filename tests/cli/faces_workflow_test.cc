// The workflow of examples/faces on real files, as its page tells it, on few images and for few steps.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using nlohmann::json;
using testing::ElementsAre;

class FacesWorkflowTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    const std::string script = std::string("TOOL='") + NACRE_BINARY_DIR + "/examples/idx_to_images' sh '" +
                               NACRE_SOURCE_DIR + "/scripts/fashion_faces.sh' '" + path("faces") +
                               "' 120 12 > /dev/null";
    ASSERT_EQ(std::system(script.c_str()), 0);
  }
};

TEST_F(FacesWorkflowTest, FromListToPrediction) {
  const Outcome trained =
      nacre({"train", "--model", "face96", "--data", "faces/train.csv", "--validation", "faces/test.csv",
             "--steps", "2", "--batch-size", "8", "--validate-every", "2", "--out", "run"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(metrics("run").size(), 2U);

  ASSERT_EQ(nacre({"export", "run", "--out", "model.nacre"}).code, 0);
  EXPECT_EQ(nacre({"verify", "model.nacre"}).code, 0);

  // The graph was redrawn: dropout has gone, a softmax has come.
  const Outcome inspected = nacre({"inspect", "model.nacre", "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  const json what = json::parse(inspected.out);
  EXPECT_EQ(what.at("kind"), "bundle");
  std::vector<std::string> names;
  for (const json& layer : what.at("layers")) names.push_back(layer.at("name"));
  EXPECT_THAT(names, ElementsAre("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4",
                                 "flatten", "fc1", "fc2", "out", "prediction"));

  const Outcome predicted = nacre({"predict", "model.nacre", "faces/test", "--json"});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  int lines = 0;
  for (size_t begin = 0; begin < predicted.out.size(); ++lines) {
    const size_t end = predicted.out.find('\n', begin);
    double sum = 0;
    const json line = json::parse(predicted.out.substr(begin, end - begin));
    for (const json& p : line.at("prediction")) sum += p.get<double>();
    EXPECT_NEAR(sum, 1.0, 1e-4);
    begin = end + 1;
  }
  EXPECT_EQ(lines, 12);

  // The checkpoint and the bundle made from it answer alike.
  const Outcome of_run = nacre({"eval", "run", "--data", "faces/test.csv", "--json"});
  const Outcome of_bundle = nacre({"eval", "model.nacre", "--data", "faces/test.csv", "--json"});
  ASSERT_EQ(of_run.code, 0) << of_run.err;
  ASSERT_EQ(of_bundle.code, 0) << of_bundle.err;
  EXPECT_EQ(json::parse(of_run.out).at("loss"), json::parse(of_bundle.out).at("loss"));
  EXPECT_EQ(json::parse(of_bundle.out).at("count"), 12);
}

}  // namespace
}  // namespace nacre
