#include "serve/predictor.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "engine/plan.h"
#include "layers/registry.h"
#include "runtime/prediction_bundle.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

enum class Together : uint8_t { kNever, kJoined, kBatched };

class PredictorTest : public ServeTest, public testing::WithParamInterface<Together> {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    options_.models.servable.joined.batch_timeout = kUnhurried;
    if (GetParam() == Together::kNever) options_.models.servable.joined.max_batch_size = 1;
    if (GetParam() == Together::kBatched) {
      options_.models.servable.batching.emplace();
      options_.models.servable.batching->max_batch_size = 4;
      options_.models.servable.batching->batch_timeout = kUnhurried;
    }
    write_version("base/1", make_small_bundle(1));
    serve({{"m", path("base"), {}, {}}});
    servable_ = found("m");
    ASSERT_NE(servable_, nullptr);
    ASSERT_EQ(servable_->batcher(1) != nullptr, GetParam() != Together::kNever);
    ASSERT_EQ(servable_->batcher(2) != nullptr, GetParam() == Together::kBatched);
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

/// Calls of a thread, each of which is answered while the one before waits for company.
class PredictorChain : public PredictorTest {
 protected:
  struct Call {
    std::vector<std::vector<std::byte>> pictures;
    CallContext context{};
    RpcResult<Scores> result = RpcStatus();
    bool postponed = false;
  };

  void run(std::vector<Call>& calls) {
    if (next_ == calls.size()) return;
    Call& call = calls[next_++];
    call.context.other_calls = [&](bool alike) {
      const bool more = alike && next_ < calls.size();
      if (more) run(calls);
      return more;
    };
    if (CallContext::is_nested()) call.context.postponed = &call.postponed;
    const std::vector<EncodedImage> images(call.pictures.begin(), call.pictures.end());
    call.result = core_->predictor.run(*servable_, images, call.context);
  }
  [[nodiscard]] std::string metrics() const { return core_->metrics.prometheus(); }

 private:
  size_t next_ = 0;
};

TEST_P(PredictorChain, WhatIsWrongWithACallIsItsOwnAffair) {
  std::stop_source gone;
  gone.request_stop();
  std::vector<Call> calls(5);
  calls[0].pictures = {make_picture(1)};
  calls[1].pictures = {make_picture(2)};
  calls[1].pictures[0].resize(calls[1].pictures[0].size() / 2);
  calls[2].pictures = {make_picture(3)};
  calls[2].context.deadline = ServeClock::now();
  calls[3].pictures = {make_picture(4)};
  calls[3].context.cancelled = gone.get_token();
  calls[4].pictures = {make_picture(5, 30, 41)};
  run(calls);
  EXPECT_EQ(calls[1].result.status().code(), RpcCode::kInvalidArgument);
  EXPECT_EQ(calls[2].result.status().code(), RpcCode::kDeadlineExceeded);
  EXPECT_EQ(calls[3].result.status().code(), RpcCode::kCancelled);
  for (const size_t good : {size_t{0}, size_t{4}}) {
    ASSERT_TRUE(calls[good].result.ok()) << calls[good].result.status().message();
    EXPECT_EQ(calls[good].result->values, answer(calls[good].pictures[0]));
  }
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_sum{} 2\n"));
}

TEST_P(PredictorChain, NoMoreThanSoManyGoTogether) {
  constexpr size_t kMost = 4;
  std::vector<Call> calls(11);
  for (size_t i = 0; i < calls.size(); ++i) calls[i].pictures = {make_picture(static_cast<int>(i))};
  for (size_t i = 0; i < calls.size(); i += kMost) run(calls);
  for (const Call& call : calls) {
    ASSERT_TRUE(call.result.ok()) << call.result.status().message();
    EXPECT_EQ(call.result->values, answer(call.pictures[0]));
  }
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_bucket{le=\"2\"} 0\n"));
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_bucket{le=\"4\"} 3\n"));
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_sum{} 11\n"));
}

TEST_P(PredictorChain, WithoutBatchingACallOfManyImagesIsNotJoined) {
  std::vector<Call> calls(3);
  calls[0].pictures = {make_picture(1)};
  calls[1].pictures = {make_picture(2), make_picture(3)};
  calls[2].pictures = {make_picture(4)};
  run(calls);
  EXPECT_TRUE(calls[0].result.ok());
  EXPECT_TRUE(calls[2].result.ok());
  EXPECT_EQ(calls[1].postponed, GetParam() == Together::kJoined);
  EXPECT_THAT(metrics(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
}

TEST_F(ServeTest, CallsThatGainNothingByItAreNotJoined) {
  std::vector<Node> nodes(3);
  nodes[0] = {"conv", "Conv2D", 1, {{"filters", int64_t{2}}, {"kernel_size", int64_t{3}}}, {"input"}};
  nodes[1] = {"pool", "GlobalAvgPool2D", 1, {}, {"conv"}};
  nodes[2] = {"out", "Dense", 1, {{"units", int64_t{3}}}, {"pool"}};
  auto bundle = std::make_shared<Bundle>(make_small_bundle(1));
  const Registry registry = builtin_ops();
  const Graph graph = *Graph::make(std::move(nodes));
  const auto plan = Plan::make(graph, registry, Shape{24, 24, 3}, {});
  InputContract contract = bundle->contract;
  contract.height = contract.width = 24;
  write_version("heavy/1",
                *make_prediction_bundle("heavy", graph, plan->initial_variables(1), contract, registry));
  write_version("light/1", *bundle);
  serve({{"heavy", path("heavy"), {}, {}}, {"light", path("light"), {}, {}}});
  const Model& heavy = found("heavy")->model();
  EXPECT_EQ(heavy.variable_bytes(), 4 * (3 * 3 * 3 * 2 + 2 + 2 * 3 + 3));
  EXPECT_GE(heavy.flops(), 22 * 22 * 2 * (2 * 3 * 3 * 3));
  EXPECT_EQ(found("heavy")->batcher(1), nullptr);
  EXPECT_NE(found("light")->batcher(1), nullptr);
}

std::string name_of(const testing::TestParamInfo<Together>& chosen) {
  if (chosen.param == Together::kNever) return "Alone";
  return chosen.param == Together::kJoined ? "Joined" : "Batched";
}

INSTANTIATE_TEST_SUITE_P(Serve, PredictorTest,
                         testing::Values(Together::kNever, Together::kJoined, Together::kBatched), name_of);
INSTANTIATE_TEST_SUITE_P(Serve, PredictorChain, testing::Values(Together::kJoined, Together::kBatched),
                         name_of);

}  // namespace
}  // namespace nacre
