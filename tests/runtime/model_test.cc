#include "runtime/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "image/encode.h"
#include "layers/registry.h"
#include "runtime/golden.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kSide = 6;

Graph training_graph() {
  std::vector<Node> nodes(5);
  nodes[0] = {"conv", "Conv2D", 1, {{"filters", int64_t{4}}, {"kernel_size", int64_t{3}}}, {"input"}};
  nodes[1] = {"pool", "MaxPool2D", 1, {}, {"conv"}};
  nodes[2] = {"flatten", "Flatten", 1, {}, {"pool"}};
  nodes[3] = {"dropout", "Dropout", 1, {{"rate", 0.5}}, {"flatten"}};
  nodes[4] = {"out", "Dense", 1, {{"units", int64_t{3}}}, {"dropout"}};
  auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return std::move(graph).value();
}

InputContract contract_of(std::vector<std::string> labels) {
  InputContract contract;
  contract.height = kSide;
  contract.width = kSide;
  contract.channels = 3;
  contract.labels = std::move(labels);
  return contract;
}

Result<Bundle> make_bundle(std::vector<std::string> labels) {
  const Registry registry = builtin_ops();
  const Graph graph = training_graph();
  const auto plan = Plan::make(graph, registry, Shape{kSide, kSide, 3}, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return make_prediction_bundle("small", graph, plan->initial_variables(7), contract_of(std::move(labels)),
                                registry);
}

std::vector<std::byte> picture(int number) {
  Image image{8, 7, 3, {}};
  for (int i = 0; i < 8 * 7 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>((i * (31 + number)) % 251));
  auto png = encode_png(image);
  EXPECT_TRUE(png.ok());
  return std::move(png).value();
}

/// A bundle file of three classes, with golden vectors.
class ModelTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nacre_model_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/small.nacre";
    auto bundle = make_bundle({"a", "b", "c"});
    ASSERT_TRUE(bundle.ok()) << bundle.status().message();
    const Status golden = add_golden_vectors(*bundle, builtin_ops());
    ASSERT_TRUE(golden.ok()) << golden.message();
    ASSERT_TRUE(write_bundle(path_, *bundle).ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] Model load(const ModelOptions& options = {}) const {
    auto model = Model::load(path_, options);
    EXPECT_TRUE(model.ok()) << model.status().message();
    return std::move(model).value();
  }

  std::string folder_;
  std::string path_;
};

TEST_F(ModelTest, LoadsAndClassifies) {
  const Model model = load();
  EXPECT_EQ(model.name(), "small");
  EXPECT_EQ(model.classes(), 3);
  EXPECT_THAT(model.input().labels, ElementsAre("a", "b", "c"));
  const std::vector<std::byte> image = picture(1);
  const std::span<const std::byte> span = image;
  const auto answers = model.classify({&span, 1});
  ASSERT_THAT(answers, SizeIs(1));
  ASSERT_TRUE(answers[0].ok()) << answers[0].status().message();
  ASSERT_THAT(*answers[0], SizeIs(3));
  EXPECT_NEAR((*answers[0])[0] + (*answers[0])[1] + (*answers[0])[2], 1, 1e-5);
}

TEST_F(ModelTest, AnswersDoNotDependOnBatchThreadsOrNeighbours) {
  std::vector<std::vector<std::byte>> images;
  for (int i = 0; i < 7; ++i) images.push_back(picture(i));
  images[4].resize(20);  // a bad one among them
  const std::vector<std::span<const std::byte>> spans(images.begin(), images.end());
  const Model single = load();
  ModelOptions options;
  options.batch = 3;
  options.threads = 2;
  const Model batched = load(options);
  const auto answers = batched.classify(spans);
  ASSERT_THAT(answers, SizeIs(7));
  for (size_t i = 0; i < spans.size(); ++i) {
    const auto alone = single.classify({&spans[i], 1});
    ASSERT_EQ(answers[i].ok(), i != 4);
    ASSERT_EQ(alone[0].ok(), i != 4);
    if (i != 4) {
      EXPECT_EQ(*answers[i], *alone[0]);
    }
  }
  EXPECT_EQ(answers[4].status().code(), StatusCode::kBadData);
}

TEST_F(ModelTest, ThreadsShareOneModel) {
  const Model model = load();
  const std::vector<std::byte> image = picture(3);
  const std::vector<std::span<const std::byte>> spans(4, image);
  const std::vector<float> expected = *model.classify(spans)[0];
  std::atomic<int> different = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, copy = model] {
      for (int repeat = 0; repeat < 10; ++repeat) {
        for (const auto& answer : copy.classify(spans)) {
          if (!answer.ok() || *answer != expected) ++different;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(different, 0);
}

TEST_F(ModelTest, AnAnswerThatIsNotFiniteIsAnError) {
  auto bundle = make_bundle({"a", "b", "c"});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  bundle->variables = bundle->variables.clone();
  bundle->variables.find("out/bias")->data()[2] = std::numeric_limits<float>::quiet_NaN();
  const auto model = Model::make(std::make_shared<const Bundle>(std::move(*bundle)), builtin_ops());
  ASSERT_TRUE(model.ok()) << model.status().message();
  const std::vector<std::byte> image = picture(1);
  const std::span<const std::byte> span = image;
  const Status status = model->classify({&span, 1})[0].status();
  EXPECT_EQ(status.code(), StatusCode::kDiverged);
  EXPECT_EQ(status.message(), "the network's answer is not finite");
}

TEST_F(ModelTest, FilesAndFloatsGiveTheSame) {
  const std::vector<std::byte> image = picture(2);
  const std::string file = folder_ + "/x.png";
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  const Model model = load();
  const auto answers = model.classify_files(std::vector<std::string>{file, folder_ + "/none.png"});
  ASSERT_TRUE(answers[0].ok()) << answers[0].status().message();
  EXPECT_EQ(answers[1].status().code(), StatusCode::kIo);
  EXPECT_THAT(answers[1].status().message(), HasSubstr("none.png: "));
  std::vector<float> input(kSide * kSide * 3 * 2);
  ASSERT_TRUE(load_image(file, model.input(), input.data()).ok());
  ASSERT_TRUE(load_image(file, model.input(), input.data() + input.size() / 2).ok());
  std::vector<float> probabilities(6);
  ASSERT_TRUE(model.classify_inputs(input, probabilities).ok());
  EXPECT_EQ(std::vector<float>(probabilities.begin(), probabilities.begin() + 3), *answers[0]);
  EXPECT_EQ(std::vector<float>(probabilities.begin() + 3, probabilities.end()), *answers[0]);
  probabilities.pop_back();
  EXPECT_EQ(model.classify_inputs(input, probabilities).code(), StatusCode::kUsage);
  input.pop_back();
  EXPECT_EQ(model.classify_inputs(input, probabilities).code(), StatusCode::kUsage);
  EXPECT_TRUE(model.classify_inputs({}, {}).ok());
}

TEST_F(ModelTest, TheBestComeFirstAndOfEqualsTheFirst) {
  const Model model = load();
  const auto best = model.best(std::vector<float>{0.25F, 0.5F, 0.25F}, 2);
  ASSERT_THAT(best, SizeIs(2));
  EXPECT_EQ(best[0].label, "b");
  EXPECT_EQ(best[0].index, 1U);
  EXPECT_EQ(best[0].probability, 0.5F);
  EXPECT_EQ(best[1].label, "a");
  EXPECT_THAT(model.best(std::vector<float>{1, 0, 0}, 99), SizeIs(3));
  EXPECT_THAT(model.best(std::vector<float>{1, 0}), IsEmpty());
}

TEST_F(ModelTest, ReplaysItsGoldenVectors) {
  const auto reports = load().replay_golden_vectors();
  ASSERT_TRUE(reports.ok()) << reports.status().message();
  EXPECT_THAT(*reports, SizeIs(6));
  auto bundle = read_bundle(path_);
  ASSERT_TRUE(bundle.ok());
  bundle->golden[2].prediction[1] += 0.01F;
  const auto changed = Model::make(std::make_shared<const Bundle>(std::move(*bundle)), builtin_ops());
  ASSERT_TRUE(changed.ok());
  const Status status = changed->replay_golden_vectors().status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr("\"noise.png\": class 1"));
}

TEST_F(ModelTest, WhatDoesNotFitIsNamed) {
  EXPECT_EQ(Model::load(folder_ + "/none.nacre").status().code(), StatusCode::kIo);
  ModelOptions options;
  options.batch = 0;
  EXPECT_EQ(Model::load(path_, options).status().code(), StatusCode::kUsage);
  EXPECT_THAT(make_bundle({"a", "b"}).status().message(), HasSubstr("2 labels for 3 outputs"));
  // A file whose weights are not its graph's is damaged.
  auto bundle = read_bundle(path_);
  ASSERT_TRUE(bundle.ok());
  bundle->contract.height = kSide + 4;
  const std::string other = folder_ + "/other.nacre";
  ASSERT_TRUE(write_bundle(other, *bundle).ok());
  const Status status = Model::load(other).status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr(other + ": "));
  EXPECT_THAT(status.message(), HasSubstr("out/kernel"));
}

}  // namespace
}  // namespace nacre
