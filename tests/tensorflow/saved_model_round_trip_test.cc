// What nacre writes as a SavedModel comes back: the same variables to the bit, under the same names, the same
// input contract, and the same answers to the bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <memory>

#include "layers/model_file.h"
#include "layers/registry.h"
#include "runtime/model.h"
#include "runtime/prediction_bundle.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "tests/tensorflow/saved_model_files.h"

namespace nacre {
namespace {

std::vector<float> answers(const Bundle& bundle, const Registry& registry) {
  const auto shared = std::make_shared<Bundle>();
  shared->name = bundle.name;
  shared->graph = bundle.graph;
  shared->variables = bundle.variables.clone();
  shared->contract = bundle.contract;
  const auto model = Model::make(shared, registry);
  EXPECT_TRUE(model.ok()) << model.status().message();
  const InputContract& in = bundle.contract;
  std::vector<float> inputs(static_cast<size_t>(2 * in.height * in.width * in.channels));
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i * 37 % 256) / 255.0F;
  std::vector<float> probabilities(static_cast<size_t>(2 * model->classes()));
  const Status status = model->classify_inputs(inputs, probabilities);
  EXPECT_TRUE(status.ok()) << status.message();
  return probabilities;
}

Bundle imported(const std::string& folder, const std::string& signature, const Registry& registry) {
  ImportOptions options;
  options.signature = signature;
  auto model = import_saved_model(folder, options, registry);
  EXPECT_TRUE(model.ok()) << model.status().message();
  if (!model.ok()) return {};
  auto bundle =
      make_prediction_bundle("back", model->graph, std::move(model->variables), model->contract, registry);
  EXPECT_TRUE(bundle.ok()) << bundle.status().message();
  return std::move(bundle).value();
}

void expect_equal(const Bundle& before, const Bundle& after, const Registry& registry) {
  std::vector<std::string> names_before;
  std::vector<std::string> names_after;
  for (const auto& [name, tensor] : before.variables.tensors()) names_before.push_back(name);
  for (const auto& [name, tensor] : after.variables.tensors()) names_after.push_back(name);
  ASSERT_EQ(names_after, names_before);
  for (const auto& [name, tensor] : before.variables.tensors()) {
    const Tensor& back = *after.variables.find(name);
    ASSERT_EQ(back.shape(), tensor.shape()) << name;
    for (int64_t i = 0; i < tensor.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(back.data()[i]), std::bit_cast<uint32_t>(tensor.data()[i])) << name;
    }
  }
  EXPECT_EQ(answers(after, registry), answers(before, registry));
}

class SavedModelRoundTrip : public testing::TestWithParam<std::string> {};

TEST_P(SavedModelRoundTrip, GivesEveryVariableAndAnswerBack) {
  const Registry registry = builtin_ops();
  const Bundle before = preset_bundle(GetParam(), registry);
  const std::string folder = test_folder() + "/model";
  SavedModelOptions writing;
  writing.overwrite = true;
  const auto written = write_saved_model(folder, before, registry, writing);
  ASSERT_TRUE(written.ok()) << written.status().message();
  for (const std::string signature : {"", "encoded_image", "float_image"}) {
    SCOPED_TRACE(signature);
    const Bundle after = imported(folder, signature, registry);
    ASSERT_NO_FATAL_FAILURE(expect_equal(before, after, registry));
    InputContract contract = before.contract;
    contract.labels.clear();
    // What numbers mean and what becomes of other sizes is not in the graph of floats.
    if (signature == "float_image") contract = after.contract;
    EXPECT_EQ(after.contract, contract);
  }
  const auto labels = read_labels_asset(folder);
  ASSERT_TRUE(labels.ok()) << labels.status().message();
  EXPECT_EQ(*labels, "cat\ndog\nowl\n");
}

INSTANTIATE_TEST_SUITE_P(Presets, SavedModelRoundTrip, testing::ValuesIn(preset_names()));

/// Every op, with settings that presets do not have.
constexpr const char* kEveryOp = R"({
  "name": "every-op", "input": {"height": 14, "width": 12, "channels": 3},
  "layers": [
    {"op": "ZeroPad2D", "name": "pad", "padding": [1, 2, 0, 3]},
    {"op": "Conv2D", "name": "conv", "filters": 8, "kernel_size": [3, 2], "strides": [2, 1]},
    {"op": "ELU", "name": "elu", "alpha": 0.7},
    {"op": "Conv2D", "name": "groups", "filters": 8, "kernel_size": 3, "padding": "same", "groups": 4},
    {"op": "BatchNorm", "name": "bn1", "scale": false},
    {"op": "LeakyReLU", "name": "leaky", "negative_slope": 0.1},
    {"op": "Conv2D", "name": "dilated", "filters": 8, "kernel_size": 3, "padding": "same",
     "dilation_rate": 2, "use_bias": false, "activation": "relu"},
    {"op": "BatchNorm", "name": "bn2", "center": false, "epsilon": 0.01},
    {"op": "Sigmoid", "name": "sigmoid"},
    {"op": "Add", "name": "sum", "inputs": ["leaky", "sigmoid", "bn1"]},
    {"op": "DepthwiseConv2D", "name": "depthwise", "kernel_size": 3, "padding": "same", "depth_multiplier": 2,
     "activation": "relu"},
    {"op": "AvgPool2D", "name": "avg", "pool_size": 3, "strides": 1, "padding": "same"},
    {"op": "Tanh", "name": "tanh"},
    {"op": "Concat", "name": "both", "inputs": ["tanh", "avg"]},
    {"op": "ReLU", "name": "relu"},
    {"op": "ReLU6", "name": "relu6"},
    {"op": "ELU", "name": "elu1"},
    {"op": "MaxPool2D", "name": "max", "pool_size": [2, 3], "strides": 2},
    {"op": "GlobalAvgPool2D", "name": "mean", "keepdims": true},
    {"op": "Flatten", "name": "flat"},
    {"op": "Dense", "name": "dense", "units": 9, "activation": "relu"},
    {"op": "BatchNorm", "name": "bn3"},
    {"op": "Dropout", "name": "dropout", "rate": 0.3},
    {"op": "BatchNorm", "name": "bn4", "center": false},
    {"op": "BatchNorm", "name": "bn5", "scale": false},
    {"op": "Dense", "name": "out", "units": "classes", "use_bias": false}
  ]})";

Bundle every_op(const Registry& registry) {
  const auto model = parse_model(kEveryOp, "every op", registry);
  EXPECT_TRUE(model.ok()) << model.status().message();
  const auto graph = build_graph(*model, 3, registry);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return bundle_of("every op", *graph, model->input, registry);
}

TEST(SavedModelRoundTripOfOps, GivesEveryOpAndItsAttributesBack) {
  const Registry registry = builtin_ops();
  const Bundle before = every_op(registry);
  const std::string folder = test_folder() + "/model";
  const auto written = write_saved_model(folder, before, registry, {});
  ASSERT_TRUE(written.ok()) << written.status().message();
  const Bundle after = imported(folder, "", registry);
  ASSERT_NO_FATAL_FAILURE(expect_equal(before, after, registry));
  // Nodes come back as they were, but for what TensorFlow does not have: initialisers, momentum, and the sum
  // of three, which is two of two. A Relu behind a convolution is its activation.
  std::map<std::string, Node> nodes;
  for (const Node& node : after.graph.nodes()) nodes.emplace(node.name, node);
  for (const Node& node : before.graph.nodes()) {
    SCOPED_TRACE(node.name);
    ASSERT_TRUE(nodes.contains(node.name));
    EXPECT_EQ(nodes.at(node.name).op, node.op);
    if (node.name != "sum") {
      EXPECT_EQ(nodes.at(node.name).inputs, node.inputs);
    }
    for (const auto& [name, value] : node.attributes) {
      if (name.find("initializer") == std::string::npos && name.find("stddev") == std::string::npos) {
        EXPECT_EQ(nodes.at(node.name).attributes.at(name), value) << name;
      }
    }
  }
}

TEST(SavedModelRoundTripOfForms, TheClassicGraphIsOneImageDecodedFast) {
  const Registry registry = builtin_ops();
  const Bundle before = preset_bundle("face96", registry);
  const std::string folder = test_folder() + "/model";
  SavedModelOptions writing;
  writing.reference = true;
  ASSERT_TRUE(write_saved_model(folder, before, registry, writing).ok());
  const Bundle after = imported(folder, "", registry);
  ASSERT_NO_FATAL_FAILURE(expect_equal(before, after, registry));
  EXPECT_EQ(after.contract.jpeg_dct, JpegDct::kFast);
  EXPECT_EQ(after.contract.resize, before.contract.resize);
  EXPECT_EQ(after.contract.scale, before.contract.scale);
}

}  // namespace
}  // namespace nacre
