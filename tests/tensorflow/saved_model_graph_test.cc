// What saved_model.pb holds.
#include "serialize/tensorflow/saved_model_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "layers/registry.h"
#include "tests/tensorflow/network_fixture.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

SavedModelGraph make(const Bundle& bundle, const SavedModelOptions& options = {}) {
  auto made = make_saved_model(bundle, builtin_ops(), options);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return made.ok() ? std::move(*made) : SavedModelGraph();
}

const tensorflow::MetaGraphDef& meta_graph(const SavedModelGraph& graph) {
  EXPECT_EQ(graph.model.meta_graphs_size(), 1);
  return graph.model.meta_graphs(0);
}

const tensorflow::GraphDef& graph_def(const SavedModelGraph& graph) {
  return meta_graph(graph).graph_def();
}

std::vector<std::string> bytes_of_collection(const tensorflow::MetaGraphDef& meta, const std::string& name) {
  const auto& list = meta.collection_def().at(name).bytes_list().value();
  return {list.begin(), list.end()};
}

/// "name string [-1, 3]" of an endpoint.
std::string text_of(const tensorflow::TensorInfo& info) {
  std::string text = info.name() + (info.dtype() == tensorflow::DT_STRING ? " string" : " float");
  if (info.tensor_shape().unknown_rank()) return text + " any";
  for (const auto& dim : info.tensor_shape().dim()) text += " " + std::to_string(dim.size());
  return text;
}

/// Every input of every node is there, and no name twice.
void expect_whole(const tensorflow::GraphDef& graph) {
  std::set<std::string> names;
  for (const auto& node : graph.node()) {
    EXPECT_TRUE(names.insert(node.name()).second) << node.name() << " twice";
    for (std::string input : node.input()) {
      if (input.starts_with('^')) input.erase(0, 1);
      EXPECT_TRUE(names.contains(input.substr(0, input.find(':')))) << node.name() << " reads " << input;
    }
  }
}

TEST(SavedModelGraph, IsMarkedForServing) {
  const SavedModelGraph made = make(make_bundle());
  EXPECT_EQ(made.model.saved_model_schema_version(), 1);
  const auto& info = meta_graph(made).meta_info_def();
  EXPECT_THAT(info.tags(), ElementsAre("serve"));
  EXPECT_EQ(info.tensorflow_version(), "1.15.0");
  EXPECT_EQ(graph_def(made).versions().producer(), 27);
  EXPECT_EQ(graph_def(made).versions().min_consumer(), 0);
  expect_whole(graph_def(made));
}

TEST(SavedModelGraph, VariablesAreResourcesOfTheirOwnNames) {
  const SavedModelGraph made = make(make_bundle());
  EXPECT_THAT(made.variables, ElementsAre("bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance",
                                          "conv1/bias", "conv1/kernel", "out/bias", "out/kernel"));
  const auto& handle = node_of(graph_def(made), "conv1/kernel");
  EXPECT_EQ(call_of(handle), "VarHandleOp()");
  EXPECT_EQ(handle.attr().at("shared_name").s(), "conv1/kernel");
  EXPECT_EQ(handle.attr().at("dtype").type(), tensorflow::DT_FLOAT);
  std::vector<int64_t> dims;
  for (const auto& dim : handle.attr().at("shape").shape().dim()) dims.push_back(dim.size());
  EXPECT_THAT(dims, ElementsAre(3, 3, 3, 4));
  EXPECT_EQ(call_of(node_of(graph_def(made), "conv1/kernel/read")), "ReadVariableOp(conv1/kernel)");
}

TEST(SavedModelGraph, EverySignatureHasItsOwnCopyOfTheNetwork) {
  const SavedModelGraph made = make(make_bundle());
  const auto& graph = graph_def(made);
  for (const auto& [prefix, input] : std::vector<std::pair<std::string, std::string>>{
           {"", "decoded"}, {"float/", "image"}, {"classify/", "classify/decoded"}}) {
    const auto call = [&](const std::string& name) { return call_of(node_of(graph, prefix + name)); };
    EXPECT_EQ(call("conv1/conv"), "Conv2D(" + input + ", conv1/kernel/read)");
    EXPECT_EQ(call("conv1/bias_add"), "BiasAdd(" + prefix + "conv1/conv, conv1/bias/read)");
    EXPECT_EQ(call("conv1/relu"), "Relu(" + prefix + "conv1/bias_add)");
    EXPECT_EQ(call("bn"), "FusedBatchNormV3(" + prefix +
                              "conv1/relu, bn/gamma/read, bn/beta/read, bn/moving_mean/read, "
                              "bn/moving_variance/read)");
    EXPECT_EQ(call("flatten"), "Reshape(" + prefix + "bn, " + prefix + "flatten/shape)");
    EXPECT_EQ(call("out/matmul"), "MatMul(" + prefix + "flatten, out/kernel/read)");
    EXPECT_EQ(call("prediction"), "Softmax(" + prefix + "out/bias_add)");
  }
  EXPECT_EQ(call_of(node_of(graph, "classify/decode/loop")),
            "StatelessWhile(classify/decode/first, classify/decode/count, classify/decode/reserve, "
            "classify/ParseExample)");
}

TEST(SavedModelGraph, SignaturesAreThoseOfServing) {
  const SavedModelGraph made = make(make_bundle());
  const auto& signatures = meta_graph(made).signature_def();
  ASSERT_EQ(signatures.size(), 4U);
  for (const char* name : {"serving_default", "encoded_image"}) {
    EXPECT_EQ(signatures.at(name).method_name(), "tensorflow/serving/predict");
    EXPECT_EQ(text_of(signatures.at(name).inputs().at("image")), "images:0 string -1");
    EXPECT_EQ(text_of(signatures.at(name).outputs().at("prediction")), "prediction:0 float -1 3");
  }
  const auto& floats = signatures.at("float_image");
  EXPECT_EQ(floats.method_name(), "tensorflow/serving/predict");
  EXPECT_EQ(text_of(floats.inputs().at("image")), "image:0 float -1 6 5 3");
  EXPECT_EQ(text_of(floats.outputs().at("prediction")), "float/prediction:0 float -1 3");
  const auto& classify = signatures.at("classify");
  EXPECT_EQ(classify.method_name(), "tensorflow/serving/classify");
  EXPECT_EQ(text_of(classify.inputs().at("inputs")), "tf_example:0 string -1");
  EXPECT_EQ(text_of(classify.outputs().at("classes")), "classify/classes:0 string -1 3");
  EXPECT_EQ(text_of(classify.outputs().at("scores")), "classify/prediction:0 float -1 3");
  const auto& meta = meta_graph(made);
  EXPECT_THAT(bytes_of_collection(meta, "inputs"), ElementsAre(R"({"image": "images:0"})"));
  EXPECT_THAT(bytes_of_collection(meta, "outputs"), ElementsAre(R"({"prediction": "prediction:0"})"));

  ASSERT_EQ(made.signatures.size(), 4U);
  const Signature expected{"classify",
                           "tensorflow/serving/classify",
                           {{"inputs", "string", {-1}}},
                           {{"classes", "string", {-1, 3}}, {"scores", "float32", {-1, 3}}}};
  EXPECT_EQ(made.signatures[0], expected);
  EXPECT_EQ(made.signatures[3].name, "serving_default");
}

TEST(SavedModelGraph, ClassifyParsesExamplesAndNamesClasses) {
  const SavedModelGraph made = make(make_bundle());
  const auto& graph = graph_def(made);
  const auto& parse = node_of(graph, "classify/ParseExample");
  EXPECT_EQ(call_of(parse),
            "ParseExample(tf_example, classify/ParseExample/names, classify/ParseExample/key, "
            "classify/ParseExample/default)");
  EXPECT_EQ(parse.attr().at("Ndense").i(), 1);
  EXPECT_EQ(parse.attr().at("Nsparse").i(), 0);
  EXPECT_EQ(parse.attr().at("Tdense").list().type(0), tensorflow::DT_STRING);
  EXPECT_TRUE(parse.attr().at("sparse_types").has_list());
  EXPECT_EQ(parse.attr().at("dense_shapes").list().shape_size(), 1);
  const auto& key = node_of(graph, "classify/ParseExample/key").attr().at("value").tensor();
  EXPECT_EQ(key.string_val(0), "image");
  // Empty: the feature must be there.
  const auto& missing = node_of(graph, "classify/ParseExample/default").attr().at("value").tensor();
  EXPECT_EQ(missing.tensor_shape().dim(0).size(), 0);
  EXPECT_EQ(missing.string_val_size(), 0);
  EXPECT_EQ(call_of(node_of(graph, "classify/classes")), "BroadcastTo(classify/labels, classify/shape)");
  const auto& labels = node_of(graph, "classify/labels").attr().at("value").tensor();
  EXPECT_THAT(labels.string_val(), ElementsAre("anna", "bert", "cleo"));
}

TEST(SavedModelGraph, LabelsAreAnAsset) {
  const SavedModelGraph made = make(make_bundle());
  ASSERT_EQ(meta_graph(made).asset_file_def_size(), 1);
  const auto& asset = meta_graph(made).asset_file_def(0);
  EXPECT_EQ(asset.filename(), "labels.txt");
  EXPECT_EQ(text_of(asset.tensor_info()), "labels_file:0 string");
  EXPECT_EQ(call_of(node_of(graph_def(made), "labels_file")), "Const()");

  Bundle nameless = make_bundle();
  nameless.contract.labels.clear();
  const SavedModelGraph without = make(nameless);
  EXPECT_EQ(meta_graph(without).asset_file_def_size(), 0);
  const auto& outputs = meta_graph(without).signature_def().at("classify").outputs();
  EXPECT_EQ(outputs.size(), 1U);
  EXPECT_TRUE(outputs.contains("scores"));
}

TEST(SavedModelGraph, FloatCanBeTheDefault) {
  SavedModelOptions options;
  options.float_default = true;
  const SavedModelGraph made = make(make_bundle(), options);
  expect_whole(graph_def(made));
  const auto& signatures = meta_graph(made).signature_def();
  for (const char* name : {"serving_default", "float_image"}) {
    EXPECT_EQ(text_of(signatures.at(name).inputs().at("image")), "image:0 float -1 6 5 3");
    EXPECT_EQ(text_of(signatures.at(name).outputs().at("prediction")), "prediction:0 float -1 3");
  }
  EXPECT_EQ(text_of(signatures.at("encoded_image").inputs().at("image")), "images:0 string -1");
  EXPECT_EQ(text_of(signatures.at("encoded_image").outputs().at("prediction")),
            "encoded/prediction:0 float -1 3");
  EXPECT_EQ(call_of(node_of(graph_def(made), "conv1/conv")), "Conv2D(image, conv1/kernel/read)");
  EXPECT_THAT(bytes_of_collection(meta_graph(made), "inputs"), ElementsAre(R"({"image": "image:0"})"));
}

TEST(SavedModelGraph, TheReferenceFormDecodesOneImage) {
  SavedModelOptions options;
  options.reference = true;
  const SavedModelGraph made = make(make_bundle(), options);
  const auto& graph = graph_def(made);
  expect_whole(graph);
  EXPECT_EQ(graph.library().function_size(), 0);
  EXPECT_TRUE(node_of(graph, "images").attr().at("shape").shape().unknown_rank());
  EXPECT_EQ(call_of(node_of(graph, "strided_slice")),
            "StridedSlice(images, strided_slice/stack, strided_slice/stack_1, strided_slice/stack_2)");
  EXPECT_EQ(node_of(graph, "strided_slice").attr().at("shrink_axis_mask").i(), 1);
  const auto& decode = node_of(graph, "DecodeJpeg");
  EXPECT_EQ(call_of(decode), "DecodeJpeg(strided_slice)");
  EXPECT_FALSE(decode.attr().contains("dct_method"));  // TensorFlow's default
  EXPECT_EQ(call_of(node_of(graph, "convert_image/Cast")), "Cast(DecodeJpeg)");
  EXPECT_EQ(call_of(node_of(graph, "convert_image")), "Mul(convert_image/Cast, convert_image/y)");
  EXPECT_EQ(call_of(node_of(graph, "ExpandDims")), "ExpandDims(convert_image, ExpandDims/dim)");
  EXPECT_EQ(call_of(node_of(graph, "resize")), "ResizeBilinear(ExpandDims, resize/size)");
  EXPECT_EQ(call_of(node_of(graph, "conv1/conv")), "Conv2D(resize, conv1/kernel/read)");
  EXPECT_EQ(call_of(node_of(graph, "prediction")), "Softmax(out/bias_add)");
  const auto& signatures = meta_graph(made).signature_def();
  EXPECT_EQ(signatures.size(), 3U);
  EXPECT_FALSE(signatures.contains("classify"));
  EXPECT_EQ(text_of(signatures.at("serving_default").inputs().at("image")), "images:0 string any");
  EXPECT_EQ(text_of(signatures.at("serving_default").outputs().at("prediction")), "prediction:0 float 1 3");

  // A contract that wants one size has no resize; the size is checked then.
  const SavedModelGraph exact = make(make_bundle(kSmallLayers, R"(, "resize": "exact")"), options);
  EXPECT_EQ(call_of(node_of(graph_def(exact), "exact_size")), "EnsureShape(convert_image)");
  EXPECT_EQ(call_of(node_of(graph_def(exact), "conv1/conv")), "Conv2D(ExpandDims, conv1/kernel/read)");
}

TEST(SavedModelGraph, VariablesAreRestoredAndSavedByTheirKeys) {
  const SavedModelGraph made = make(make_bundle());
  const auto& meta = meta_graph(made);
  EXPECT_EQ(meta.saver_def().filename_tensor_name(), "save/Const:0");
  EXPECT_EQ(meta.saver_def().save_tensor_name(), "save/control_dependency:0");
  EXPECT_EQ(meta.saver_def().restore_op_name(), "save/restore_all");
  EXPECT_EQ(meta.saver_def().version(), tensorflow::SaverDef::V2);
  EXPECT_EQ(meta.saver_def().max_to_keep(), 5);
  const auto& graph = meta.graph_def();
  const auto& keys = node_of(graph, "save/tensor_names").attr().at("value").tensor();
  EXPECT_EQ(std::vector<std::string>(keys.string_val().begin(), keys.string_val().end()), made.variables);
  const auto& slices = node_of(graph, "save/shape_and_slices").attr().at("value").tensor();
  EXPECT_EQ(slices.string_val_size(), 8);
  const auto& save = node_of(graph, "save/SaveV2");
  EXPECT_EQ(save.input_size(), 3 + 8);
  EXPECT_EQ(save.input(3), "bn/beta/read");
  EXPECT_EQ(save.attr().at("dtypes").list().type_size(), 8);
  EXPECT_EQ(call_of(node_of(graph, "save/control_dependency")), "Identity(save/Const, ^save/SaveV2)");
  EXPECT_EQ(call_of(node_of(graph, "save/Assign")), "AssignVariableOp(bn/beta, save/RestoreV2)");
  EXPECT_EQ(call_of(node_of(graph, "save/Assign_7")), "AssignVariableOp(out/kernel, save/RestoreV2:7)");
  const auto& all = node_of(graph, "save/restore_all");
  EXPECT_EQ(all.input_size(), 8);
  EXPECT_EQ(all.input(7), "^save/Assign_7");
}

TEST(SavedModelGraph, CollectionsListVariablesAndWhatTrains) {
  const SavedModelGraph made = make(make_bundle());
  const auto names = [&](const std::string& collection) {
    std::vector<std::string> list;
    for (const std::string& bytes : bytes_of_collection(meta_graph(made), collection)) {
      tensorflow::VariableDef variable;
      EXPECT_TRUE(variable.ParseFromString(bytes));
      EXPECT_TRUE(variable.is_resource());
      node_of(graph_def(made), variable.initializer_name());
      EXPECT_EQ(variable.snapshot_name(),
                variable.variable_name().substr(0, variable.variable_name().size() - 2) + "/read:0");
      EXPECT_EQ(variable.trainable(), variable.variable_name().find("moving") == std::string::npos);
      list.push_back(variable.variable_name());
    }
    return list;
  };
  EXPECT_EQ(names("variables").size(), 8U);
  EXPECT_THAT(names("trainable_variables"), ElementsAre("bn/beta:0", "bn/gamma:0", "conv1/bias:0",
                                                        "conv1/kernel:0", "out/bias:0", "out/kernel:0"));
}

TEST(SavedModelGraph, LayersMayBeCalledLikeTheGraphsOwnNodes) {
  Bundle bundle = make_bundle(R"([
    {"op": "MaxPool2D", "name": "images", "pool_size": 2},
    {"op": "ReLU", "name": "image"},
    {"op": "ReLU", "name": "decoded"},
    {"op": "ReLU", "name": "middle"},
    {"op": "ReLU", "name": "tf_example"},
    {"op": "Flatten", "name": "decode"},
    {"op": "Dense", "name": "float", "units": 4},
    {"op": "Sigmoid", "name": "matmul"},
    {"op": "Dense", "name": "save", "units": "classes"}])");
  std::vector<Node> nodes = bundle.graph.nodes();
  nodes.back().name = "labels_file";
  nodes[3].name = "prediction";
  nodes[4].inputs = {"prediction"};
  bundle.graph = *Graph::make(nodes);
  const SavedModelGraph made = make(bundle);
  const auto& graph = graph_def(made);
  expect_whole(graph);
  EXPECT_EQ(call_of(node_of(graph, "images")), "Placeholder()");
  EXPECT_EQ(call_of(node_of(graph, "image")), "Placeholder()");
  EXPECT_EQ(call_of(node_of(graph, "tf_example")), "Placeholder()");
  EXPECT_EQ(call_of(node_of(graph, "prediction")), "Softmax(save/bias_add)");
  EXPECT_EQ(call_of(node_of(graph, "save/kernel")), "VarHandleOp()");
  EXPECT_EQ(call_of(node_of(graph, "images_1")), "MaxPool(decoded)");
  EXPECT_EQ(call_of(node_of(graph, "prediction_layer")), "Relu(decoded_1)");
  // The layer "matmul" of the copy "float/" and the product of the layer "float".
  EXPECT_EQ(call_of(node_of(graph, "float/matmul")), "MatMul(decode, float/kernel/read)");
  EXPECT_EQ(call_of(node_of(graph, "float/matmul_1")), "Sigmoid(float/float/bias_add)");
}

TEST(SavedModelGraph, AnOutputThatIsNoSoftmaxIsCalledPredictionToo) {
  Bundle bundle = make_bundle();
  std::vector<Node> nodes = bundle.graph.nodes();
  nodes.pop_back();
  bundle.graph = *Graph::make(nodes);
  const SavedModelGraph made = make(bundle);
  EXPECT_EQ(call_of(node_of(graph_def(made), "prediction")), "Identity(prediction/bias_add)");
}

TEST(SavedModelGraph, WhatTensorflowCannotExpressIsRefused) {
  const auto refusal = [](const Bundle& bundle) {
    const auto made = make_saved_model(bundle, builtin_ops(), {});
    EXPECT_EQ(made.status().code(), StatusCode::kUnsupported) << made.status().message();
    return made.status().message();
  };
  EXPECT_THAT(refusal(make_bundle(kSmallLayers, R"(, "exif": "apply")")), HasSubstr("EXIF"));
  for (const char* name : {"_out", "-out"}) {
    const std::string layers =
        std::string(R"([{"op": "Flatten"}, {"op": "Dense", "units": 3, "name": ")") + name + R"("}])";
    EXPECT_THAT(refusal(make_bundle(layers)), HasSubstr(name));
  }
  EXPECT_THAT(refusal(make_bundle(R"([{"op": "GlobalAvgPool2D"}])")), HasSubstr("no variables"));
  Bundle channels = make_bundle(R"([{"op": "Flatten"}, {"op": "Dense", "units": 3}])");
  channels.contract.channels = 2;
  EXPECT_THAT(refusal(channels), HasSubstr("2 channels"));
}

TEST(SavedModelGraph, AnOpThatDoesNotDescribeItselfIsRefused) {
  const Registry builtin = builtin_ops();
  std::vector<OpDef> ops(builtin.all().begin(), builtin.all().end());
  std::ranges::find(ops, "Flatten", &OpDef::name)->to_tensorflow = nullptr;
  const auto made = make_saved_model(make_bundle(), Registry(ops), {});
  EXPECT_EQ(made.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(made.status().message(), HasSubstr("node \"flatten\" (Flatten)"));
}

TEST(SavedModelGraph, ABundleWithoutAVariableIsBadData) {
  Bundle bundle = make_bundle();
  VariableStore fewer;
  for (const auto& [name, tensor] : bundle.variables.tensors()) {
    if (name == "out/bias") continue;
    ASSERT_TRUE(fewer.add(name, tensor.clone()).ok());
  }
  bundle.variables = std::move(fewer);
  const auto made = make_saved_model(bundle, builtin_ops(), {});
  EXPECT_EQ(made.status().code(), StatusCode::kBadData);
  EXPECT_THAT(made.status().message(), HasSubstr("out/bias"));
}

}  // namespace
}  // namespace nacre
