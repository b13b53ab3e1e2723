#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Json = nlohmann::json;

/// Model files and bundles as an attacker writes them: one line, the right exit code, soon.
class HostileModelTest : public RunTest {
 protected:
  /// The outcome of training on a model file with these layers.
  [[nodiscard]] Outcome train_layers(const Json& layers,
                                     const Json& input = {
                                         {"height", 8}, {"width", 8}, {"channels", 1}}) const {
    write("hostile.json", Json({{"name", "m"}, {"input", input}, {"layers", layers}}).dump());
    return nacre({"train", "--model", "hostile.json", "--data", "idx", "--out", "run", "--steps", "1"});
  }
  /// `notes`: lines on the data that come before.
  static void expect_one_line(const Outcome& outcome, int code, const std::string& reason, int notes = 0) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(reason));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), notes + 1) << outcome.err;
    EXPECT_LT(outcome.err.size(), 3000U);
  }
  static Json head() { return Json::array({{{"op", "Flatten"}}, {{"op", "Dense"}, {"units", "classes"}}}); }
  static Json after(Json layer) {
    Json layers = head();
    layers.insert(layers.begin(), std::move(layer));
    return layers;
  }
};

TEST_F(HostileModelTest, DepthNeedsNoRecursion) {
  // As text: a JSON value of a million parts takes longer to make than to read.
  const auto chain = [&](int relus) {
    std::string layers;
    for (int i = 0; i < relus; ++i) layers += R"({"op":"ReLU"},)";
    write("deep.json", R"({"name": "m", "input": {"height": 8, "width": 8, "channels": 1}, "layers": [)" +
                           layers + R"({"op": "Flatten"}, {"op": "Dense", "units": "classes"}]})");
    return nacre({"train", "--model", "deep.json", "--data", "idx", "--out", "run", "--steps", "1"});
  };
  expect_one_line(chain(1000000), 7, "layers: 1000002 of them");
  write("hostile.json", std::string(1000000, '['));
  expect_one_line(nacre({"models", "hostile.json"}), 3, "nested more than 32 deep");
  // What is deep, but allowed, is trained.
  const Outcome deep = chain(10000);
  EXPECT_EQ(deep.code, 0) << deep.err;
}

TEST_F(HostileModelTest, CyclesAreRefused) {
  Json layers = after({{"op", "ReLU"}, {"name", "a"}, {"inputs", {"b"}}});
  layers.insert(layers.begin() + 1, Json{{"op", "ReLU"}, {"name", "b"}});
  expect_one_line(train_layers(layers), 3, "cycle");
  expect_one_line(train_layers(after({{"op", "ReLU"}, {"name", "a"}, {"inputs", {"a"}}})), 3, "reads itself");
}

TEST_F(HostileModelTest, SizesAreBoundedBeforeMemoryIsTaken) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  const Json conv{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 3}, {"padding", "same"}};
  for (const char* attribute : {"filters", "kernel_size", "strides"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, kHuge, std::numeric_limits<int64_t>::min()}) {
      Json layer = conv;
      layer[attribute] = value;
      expect_one_line(train_layers(after(layer)), 3, attribute);
    }
  }
  for (const char* attribute : {"pool_size", "strides"}) {
    Json layer{{"op", "MaxPool2D"}, {"pool_size", 2}, {"strides", 2}};
    layer[attribute] = kHuge;
    expect_one_line(train_layers(after(layer)), 3, attribute);
  }
  expect_one_line(train_layers(after({{"op", "Dropout"}, {"rate", 1e300}})), 3, "rate");
  // Each of them small enough, their product not.
  Json wide = head();
  for (int i = 0; i < 2; ++i) wide.insert(wide.begin() + 1, Json{{"op", "Dense"}, {"units", 2000000}});
  EXPECT_EQ(train_layers(wide).code, 7);
  EXPECT_EQ(train_layers(head(), {{"height", 1 << 14}, {"width", 1 << 14}, {"channels", 3}}).code, 7);
  expect_one_line(train_layers(head(), {{"height", kHuge}, {"width", 8}, {"channels", 1}}), 3,
                  "input.height");
  EXPECT_FALSE(exists("run/checkpoints/latest"));
}

TEST_F(HostileModelTest, WrongTypesAreNamedWithTheirPlace) {
  const Json conv{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 3}};
  const std::vector<Json> wrong{nullptr, true, 2.5, "many", Json::object(), Json::array({Json::array()})};
  for (const Json& value : wrong) {
    Json layer = conv;
    layer["filters"] = value;
    expect_one_line(train_layers(after(layer)), 3, "hostile.json: layers[0]");
    layer = conv;
    layer["op"] = value;
    expect_one_line(train_layers(after(layer)), 3, "hostile.json: layers[0].op");
    expect_one_line(train_layers(after(value)), 3, "hostile.json: layers[0]");
    expect_one_line(train_layers(value), 3, "hostile.json: layers");
  }
}

/// A bundle on the way to being read.
class HostileBundleFileTest : public HostileModelTest {
 protected:
  void SetUp() override {
    HostileModelTest::SetUp();
    ASSERT_EQ(train("good", {"--steps", "1"}).code, 0);
    ASSERT_EQ(nacre({"export", "good", "--out", "good.nacre"}).code, 0);
  }
  [[nodiscard]] Bundle good() const {
    auto bundle = read_bundle(path("good.nacre"));
    EXPECT_TRUE(bundle.ok()) << bundle.status().message();
    return std::move(bundle).value();
  }
};

TEST_F(HostileBundleFileTest, AttributesThatCannotBeAreACorruptFile) {
  for (const auto& [attribute, value] :
       std::vector<std::pair<std::string, int64_t>>{{"strides", 0},
                                                    {"strides", int64_t{1} << 62},
                                                    {"kernel_size", 0},
                                                    {"kernel_size", -3},
                                                    {"kernel_size", int64_t{1} << 40},
                                                    {"filters", 0},
                                                    {"filters", int64_t{1} << 62}}) {
    Bundle bundle = good();
    std::vector<Node> nodes = bundle.graph.nodes();
    ASSERT_EQ(nodes[0].op, "Conv2D");
    nodes[0].attributes[attribute] = value;
    auto graph = Graph::make(std::move(nodes));
    ASSERT_TRUE(graph.ok());
    bundle.graph = std::move(graph).value();
    BundleWriteOptions writing;
    writing.overwrite = true;
    ASSERT_TRUE(write_bundle(path("bad.nacre"), bundle, writing).ok());
    for (const char* command : {"verify", "inspect"}) {
      expect_one_line(nacre({command, "bad.nacre"}), 4, "bad.nacre: ");
    }
  }
}

TEST_F(HostileBundleFileTest, WeightsThatAreNotFiniteAreRefused) {
  Bundle bundle = good();
  Tensor kernel = bundle.variables.find("out/kernel")->clone();
  kernel.data()[3] = std::numeric_limits<float>::quiet_NaN();
  *bundle.variables.find("out/kernel") = std::move(kernel);
  BundleWriteOptions writing;
  writing.allow_nonfinite = true;
  ASSERT_TRUE(write_bundle(path("nan.nacre"), bundle, writing).ok());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"verify", "nan.nacre"}, {"eval", "nan.nacre", "--data", "idx"}}) {
    expect_one_line(nacre(command), 8, "nan.nacre: ");
  }
  const Outcome start = train("run", {"--init-from", "nan.nacre"});
  expect_one_line(start, 8, "nan.nacre: ", /*notes=*/2);
}

TEST_F(HostileBundleFileTest, ACheckpointThatIsNotFiniteStartsNothing) {
  const std::string file = "good/checkpoints/step-00000001.ckpt";
  auto checkpoint = read_checkpoint(path(file));
  ASSERT_TRUE(checkpoint.ok());
  checkpoint->variables = checkpoint->variables.clone();
  checkpoint->variables.find("conv1/bias")->data()[0] = std::numeric_limits<float>::infinity();
  ASSERT_TRUE(write_checkpoint(path(file), *checkpoint, /*overwrite=*/true).ok());
  expect_one_line(train("run", {"--init-from", file}), 8, "conv1/bias holds a value that is NaN or infinite",
                  /*notes=*/2);
  EXPECT_EQ(train("good", {"--steps", "2", "--resume"}).code, 8);
  EXPECT_EQ(nacre({"export", "good", "--out", "nan.nacre"}).code, 8);
  EXPECT_FALSE(exists("nan.nacre"));
}

}  // namespace
}  // namespace nacre
