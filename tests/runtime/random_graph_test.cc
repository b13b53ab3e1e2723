#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "engine/executor.h"
#include "engine/random.h"
#include "layers/registry.h"
#include "runtime/model.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"
#include "tests/train/train_fixture.h"
#include "train/trainer.h"

namespace nacre {
namespace {

constexpr int64_t kClasses = 3;
constexpr int64_t kImages = 7;

/// Grows a network at random: chains, branches that Add or Concat join, and a head.
class RandomNetwork {
 public:
  explicit RandomNetwork(uint64_t seed) : stream_(seed, hash_name(std::string("random network"))) {
    height_ = h_ = pick(5, 12);
    width_ = w_ = pick(5, 12);
    channels_ = c_ = pick(0, 1) == 0 ? 1 : 3;
    const int64_t parts = pick(1, 5);
    for (int64_t i = 0; i < parts; ++i) {
      if (pick(0, 3) == 0) {
        branch();
      } else {
        grow();
      }
    }
    head();
  }

  [[nodiscard]] Result<Graph> graph() const { return Graph::make(nodes_); }
  [[nodiscard]] InputContract contract() const {
    InputContract contract;
    contract.height = height_;
    contract.width = width_;
    contract.channels = channels_;
    contract.labels = {"a", "b", "c"};
    return contract;
  }
  [[nodiscard]] std::string ops() const {
    std::string text;
    for (const Node& node : nodes_) text += node.op + " ";
    return text;
  }

 private:
  int64_t pick(int64_t least, int64_t most) {
    const auto range = static_cast<float>(most - least + 1);
    return std::min(most, least + static_cast<int64_t>(stream_.uniform(draws_++) * range));
  }

  void add(const std::string& op, AttrMap attributes, std::vector<std::string> inputs = {}) {
    if (inputs.empty()) inputs = {tip_};
    tip_ = "n" + std::to_string(nodes_.size());
    nodes_.push_back({tip_, op, 1, std::move(attributes), std::move(inputs)});
  }

  /// One number for both directions, or two.
  AttrValue extent(int64_t height, int64_t width) {
    if (height == width && pick(0, 1) == 0) return height;
    return std::vector<int64_t>{height, width};
  }
  AttrValue extent_from(int64_t least, int64_t most) {
    const int64_t height = pick(least, most);
    return extent(height, pick(least, most));
  }
  int64_t groups(int64_t filters) { return c_ % 2 == 0 && filters % 2 == 0 ? pick(1, 2) : 1; }

  /// A layer that keeps height and width; its channels are `filters` when it has filters, or can multiply
  /// channels to as many.
  void same_size(int64_t filters) {
    const std::string same = "same";
    switch (pick(0, 4)) {
      case 0:
      case 1:
        add("Conv2D", {{"filters", filters},
                       {"kernel_size", extent_from(1, 5)},
                       {"padding", same},
                       {"dilation_rate", extent_from(1, 2)},
                       {"groups", groups(filters)},
                       {"activation", std::string(pick(0, 1) == 0 ? "linear" : "relu")},
                       {"use_bias", pick(0, 1) == 0}});
        c_ = filters;
        break;
      case 2: {
        const int64_t multiplier = filters % c_ == 0 ? filters / c_ : 1;
        add("DepthwiseConv2D",
            {{"kernel_size", extent_from(1, 3)}, {"padding", same}, {"depth_multiplier", multiplier}});
        c_ *= multiplier;
        break;
      }
      case 3:
        add("BatchNorm", {});
        break;
      default:
        static const char* const kOps[] = {"ReLU", "ReLU6", "LeakyReLU", "ELU", "Sigmoid", "Tanh"};
        add(kOps[pick(0, 5)], {});
    }
  }

  /// A window that goes over the image in strides, padded or not.
  void window() {
    const int64_t kind = pick(0, 3);
    const int64_t kernel_h = pick(1, 3);
    const int64_t kernel_w = pick(1, 3);
    const int64_t stride_h = pick(1, 2);
    const int64_t stride_w = kind == 1 ? stride_h : pick(1, 2);  // depthwise ones step the same both ways
    const bool valid = pick(0, 1) == 0;
    AttrMap attributes{{"strides", extent(stride_h, stride_w)},
                       {"padding", std::string(valid ? "valid" : "same")}};
    switch (kind) {
      case 0:
        attributes["kernel_size"] = extent(kernel_h, kernel_w);
        attributes["filters"] = int64_t{4};
        attributes["groups"] = groups(4);
        add("Conv2D", std::move(attributes));
        c_ = 4;
        break;
      case 1:
        attributes["kernel_size"] = extent(kernel_h, kernel_w);
        attributes["depth_multiplier"] = pick(1, 2);
        c_ *= std::get<int64_t>(attributes["depth_multiplier"]);
        add("DepthwiseConv2D", std::move(attributes));
        break;
      default:
        attributes["pool_size"] = extent(kernel_h, kernel_w);
        add(pick(0, 1) == 0 ? "MaxPool2D" : "AvgPool2D", std::move(attributes));
    }
    h_ = ((valid ? h_ - kernel_h : h_ - 1) + stride_h) / stride_h;
    w_ = ((valid ? w_ - kernel_w : w_ - 1) + stride_w) / stride_w;
  }

  void grow() {
    if (pick(0, 1) != 0 || std::min(h_, w_) < 4) {
      same_size(2 * pick(1, 4));
    } else if (pick(0, 4) == 0) {
      add("Dropout", {{"rate", 0.25}});
    } else {
      window();
    }
  }

  void branch() {
    const std::string from = tip_;
    const int64_t channels = c_;
    same_size(channels);
    same_size(channels);
    const std::string left = tip_;
    c_ = channels;
    tip_ = from;
    if (pick(0, 1) == 0) same_size(channels);  // otherwise a shortcut
    c_ = channels;
    if (pick(0, 1) == 0) {
      add("Add", {}, {left, tip_});
    } else {
      add("Concat", {}, {left, tip_});
      c_ = 2 * channels;
    }
  }

  void head() {
    if (pick(0, 1) == 0) {
      const bool keepdims = pick(0, 1) == 0;
      add("GlobalAvgPool2D", {{"keepdims", keepdims}});
      if (keepdims) add("Flatten", {});
    } else {
      if (pick(0, 2) == 0) {
        add("ZeroPad2D", {{"padding", std::vector<int64_t>{pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2)}}});
      }
      add("Flatten", {});
      if (pick(0, 1) == 0) add("Dense", {{"units", int64_t{9}}, {"activation", std::string("relu")}});
    }
    add("Dense", {{"units", kClasses}});
  }

  RandomStream stream_;
  uint64_t draws_ = 0;
  std::vector<Node> nodes_;
  std::string tip_{kInputName};
  int64_t h_ = 0;
  int64_t w_ = 0;
  int64_t c_ = 0;
  int64_t height_ = 0;
  int64_t width_ = 0;
  int64_t channels_ = 0;
};

/// Trains two steps from the start that `seed` gives.
void train_network(const Graph& graph, const InputContract& contract, uint64_t seed, int threads,
                   Checkpoint& checkpoint) {
  const Registry registry = builtin_ops();
  const int64_t image = contract.height * contract.width * contract.channels;
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < kImages * image; ++i) {
    pixels.push_back(static_cast<uint8_t>((i * 73 + i / 7 * 31) % 256));
  }
  const auto data = Dataset::from_pixels(std::move(pixels), contract.height, contract.width,
                                         contract.channels, {0, 1, 2, 2, 1, 0, 1}, contract.labels, contract);
  ASSERT_TRUE(data.ok()) << data.status().message();
  const auto plan =
      Plan::make(graph, registry, Shape{contract.height, contract.width, contract.channels}, {});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  checkpoint.contract = contract;
  checkpoint.state.seed = seed;
  checkpoint.variables = plan->initial_variables(seed);
  TrainOptions options;
  options.batch_size = 5;
  options.steps = 2;
  options.optimizer.learning_rate = 0.01;
  options.optimizer.momentum = 0.9;
  options.threads = threads;
  const auto trained = train(graph, registry, *data, nullptr, options, checkpoint, {}, [] { return false; });
  ASSERT_TRUE(trained.ok()) << trained.status().message();
}

std::vector<float> predict(const Result<Model>& model, std::span<const float> inputs) {
  std::vector<float> answers(kImages * kClasses);
  EXPECT_TRUE(model.ok()) << model.status().message();
  if (!model.ok()) return answers;
  const Status status = model->classify_inputs(inputs, answers);
  EXPECT_TRUE(status.ok()) << status.message();
  return answers;
}

/// The softmax of what the training graph gives in inference, operator by operator: nothing is redrawn and
/// nothing fused.
std::vector<float> unfused_answers(const Graph& graph, const Registry& registry,
                                   const InputContract& contract, const VariableStore& variables,
                                   std::span<const float> inputs) {
  std::vector<float> answers(kImages * kClasses);
  PlanOptions options;
  options.batch = kImages;
  options.fuse = false;
  const auto plan =
      Plan::make(graph, registry, Shape{contract.height, contract.width, contract.channels}, options);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  if (!plan.ok()) return answers;
  Executor executor(*plan);
  const Status bound = executor.bind(variables);
  EXPECT_TRUE(bound.ok()) << bound.message();
  if (!bound.ok()) return answers;
  Tensor input(plan->input_shape());
  std::copy(inputs.begin(), inputs.end(), input.data());
  const TensorView<const float> logits = executor.forward(input.view(), StepContext{});
  for (int64_t row = 0; row < kImages; ++row) {
    const float* scores = logits.data + row * kClasses;
    double sum = 0;
    for (int64_t k = 0; k < kClasses; ++k) sum += std::exp(static_cast<double>(scores[k]));
    for (int64_t k = 0; k < kClasses; ++k) {
      answers[static_cast<size_t>(row * kClasses + k)] =
          static_cast<float>(std::exp(static_cast<double>(scores[k])) / sum);
    }
  }
  return answers;
}

TEST(RandomGraph, TrainExportReloadPredictsTheSameBits) {
  std::string folder = testing::TempDir() + "nacre_random_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const Registry registry = builtin_ops();
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const RandomNetwork network(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + network.ops());
    const auto graph = network.graph();
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    const InputContract contract = network.contract();
    Checkpoint alone;
    Checkpoint checkpoint;
    ASSERT_NO_FATAL_FAILURE(train_network(*graph, contract, seed, 1, alone));
    ASSERT_NO_FATAL_FAILURE(train_network(*graph, contract, seed, 3, checkpoint));
    ASSERT_TRUE(bits_of(alone.variables) == bits_of(checkpoint.variables)) << "1 and 3 threads";

    auto made = make_prediction_bundle("random", *graph, std::move(checkpoint.variables), contract, registry);
    ASSERT_TRUE(made.ok()) << made.status().message();
    const std::string path = folder + "/" + std::to_string(seed) + ".nacre";
    ASSERT_TRUE(write_bundle(path, *made).ok());
    std::vector<float> inputs(
        static_cast<size_t>(kImages * contract.height * contract.width * contract.channels));
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i * 37 % 101) / 101.0F;

    const auto bundle = std::make_shared<const Bundle>(std::move(*made));
    const auto expected = predict(Model::make(bundle, registry, {.batch = 7, .threads = 2}), inputs);
    EXPECT_EQ(predict(Model::load(path, {.batch = 1}), inputs), expected);
    EXPECT_EQ(predict(Model::load(path, {.batch = 3, .threads = 3}), inputs), expected);
    // Folded batch norms and inference's own convolutions round otherwise.
    const auto unfused = unfused_answers(*graph, registry, contract, bundle->variables, inputs);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(unfused[i], expected[i], 1e-5) << i;
    const auto reference = predict(Model::load(path, {.batch = 7, .reference = true}), inputs);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(reference[i], expected[i], 1e-4) << i;
    std::filesystem::remove(path);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace nacre
