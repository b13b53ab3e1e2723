#include "serve/predictor.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "layers/registry.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

/// With and without batching.
class PredictorTest : public ServeTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    if (GetParam()) {
      options_.models.servable.batching.emplace();
      options_.models.servable.batching->max_batch_size = 4;
      options_.models.servable.batching->batch_timeout = std::chrono::microseconds(2000);
    }
    write_version("base/1", make_small_bundle(1));
    serve({{"m", path("base"), {}, {}}});
    servable_ = found("m");
    ASSERT_NE(servable_, nullptr);
    ASSERT_EQ(servable_->batcher() != nullptr, GetParam());
  }
  void TearDown() override {
    servable_.reset();
    ServeTest::TearDown();
  }

  std::shared_ptr<const Servable> servable_;
};

/// What `nacre predict` says.
std::vector<float> answer(const std::vector<std::byte>& picture) {
  static const Model model =
      *Model::make(std::make_shared<const Bundle>(make_small_bundle(1)), builtin_ops());
  const std::span<const std::byte> image(picture);
  return *model.classify({&image, 1}).front();
}

TEST_P(PredictorTest, SaysWhatTheRuntimeSaysBitForBit) {
  std::vector<std::vector<std::byte>> pictures;
  std::vector<float> expected;
  for (int i = 0; i < 50; ++i) {
    pictures.push_back(make_picture(i, 5 + i % 7, 4 + i % 5));  // of many sizes
    const std::vector<float> one = answer(pictures.back());
    expected.insert(expected.end(), one.begin(), one.end());
  }
  const std::vector<EncodedImage> images(pictures.begin(), pictures.end());
  const auto scores = core_->predictor.run(*servable_, images, {});
  ASSERT_TRUE(scores.ok()) << scores.status().message();
  EXPECT_EQ(scores->rows, 50U);
  EXPECT_EQ(scores->classes, 3U);
  EXPECT_EQ(scores->values, expected);
}

TEST_P(PredictorTest, SaysTheSameToManyAtOnce) {
  constexpr int kThreads = 8;
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 25; ++i) {
          const std::vector<std::byte> picture = make_picture(100 * t + i, 6 + t, 5 + i % 4);
          const EncodedImage image(picture);
          const auto scores = core_->predictor.run(*servable_, {&image, 1}, {});
          if (!scores.ok() || scores->values != answer(picture)) ++wrong;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(PredictorTest, FloatsAreNetworkInput) {
  const std::vector<float> inputs(2 * 6 * 6 * 3, 0.5F);
  const auto scores = core_->predictor.run(*servable_, inputs, {});
  ASSERT_TRUE(scores.ok()) << scores.status().message();
  std::vector<float> expected(6);
  ASSERT_TRUE(servable_->model().classify_inputs(inputs, expected).ok());
  EXPECT_EQ(scores->values, expected);
  const auto short_one = core_->predictor.run(*servable_, std::span(inputs).subspan(1), {});
  EXPECT_EQ(short_one.status().code(), RpcCode::kInvalidArgument);
  EXPECT_EQ(short_one.status().message(), "215 floats of input, expected 108 for each image");
}

TEST_P(PredictorTest, NamesTheBadImage) {
  const std::vector<std::byte> good = make_picture(1);
  std::vector<std::byte> bad = good;
  bad.resize(bad.size() / 2);
  const std::vector<EncodedImage> images = {good, good, bad, good};
  const auto scores = core_->predictor.run(*servable_, images, {});
  EXPECT_EQ(scores.status().code(), RpcCode::kInvalidArgument);
  EXPECT_THAT(scores.status().message(), HasSubstr("image 2: "));
}

TEST_P(PredictorTest, WorksForNobodyInVain) {
  const std::vector<std::byte> picture = make_picture(1);
  const EncodedImage image(picture);
  CallContext late;
  late.deadline = ServeClock::now();
  EXPECT_EQ(core_->predictor.run(*servable_, {&image, 1}, late).status().code(), RpcCode::kDeadlineExceeded);
  std::stop_source client;
  client.request_stop();
  CallContext gone;
  gone.cancelled = client.get_token();
  EXPECT_EQ(core_->predictor.run(*servable_, {&image, 1}, gone).status().code(), RpcCode::kCancelled);
}

TEST_P(PredictorTest, WithinAnotherCallNothingTakesLong) {
  const std::vector<std::byte> small = make_picture(1);
  const std::vector<std::byte> large = make_picture(1, 600, 600);
  CallContext within;
  bool postponed = false;
  within.postponed = &postponed;
  const auto run = [&](const std::vector<EncodedImage>& images, const CallContext& context) {
    postponed = false;
    return core_->predictor.run(*servable_, images, context).ok();
  };
  EXPECT_TRUE(run({small, small}, within));
  EXPECT_FALSE(postponed);
  EXPECT_FALSE(run({small, large}, within));
  EXPECT_TRUE(postponed) << "many pixels";
  const std::vector<EncodedImage> many(kImagesPerTurn + 1, small);
  EXPECT_FALSE(run(many, within));
  EXPECT_TRUE(postponed) << "many images";
  EXPECT_TRUE(run({small, large}, {}));
  EXPECT_TRUE(run(many, {}));
  const std::vector<float> rows((kImagesPerTurn + 1) * 6 * 6 * 3);
  EXPECT_FALSE(core_->predictor.run(*servable_, rows, within).ok());
  EXPECT_TRUE(postponed) << "many rows";
}

TEST_P(PredictorTest, BoundsTheImagesOfACall) {
  const std::vector<EncodedImage> images(kMaxImagesPerCall + 1);
  EXPECT_EQ(core_->predictor.run(*servable_, images, {}).status().code(), RpcCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Serve, PredictorTest, testing::Bool(),
                         [](const auto& chosen) { return chosen.param ? "Batched" : "Alone"; });

}  // namespace
}  // namespace nacre
