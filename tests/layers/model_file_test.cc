#include "layers/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/plan.h"
#include "layers/registry.h"
#include "layers/strict_json.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kInput = R"("name": "m", "input": {"height": 8, "width": 8, "channels": 1})";

class ModelFile : public ::testing::Test {
 protected:
  Result<ModelDescription> parse(const std::string& json) { return parse_model(json, "m.json", registry_); }
  Result<ModelDescription> parse_layers(const std::string& layers) {
    return parse("{" + kInput + R"(, "layers": [)" + layers + "]}");
  }
  /// Code and message of a text that must be refused with one line.
  std::string refusal(const Result<ModelDescription>& result, StatusCode code = StatusCode::kBadData) {
    EXPECT_FALSE(result.ok());
    if (result.ok()) return "";
    EXPECT_EQ(result.status().code(), code) << result.status().message();
    EXPECT_THAT(result.status().message(), StartsWith("m.json: "));
    EXPECT_EQ(result.status().message().find('\n'), std::string::npos);
    EXPECT_LT(result.status().message().size(), 1000U);
    return result.status().message();
  }

  const Registry registry_ = builtin_ops();
};

TEST_F(ModelFile, PresetsHaveTheirParameters) {
  EXPECT_THAT(preset_names(), ElementsAre("face96", "fashion28", "fashion28_accurate", "lenet5",
                                          "mobilenet96", "residual32", "vgg32"));
  auto face = load_model("face96", registry_);
  ASSERT_TRUE(face.ok()) << face.status().message();
  auto graph = build_graph(*face, 40, registry_);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  auto plan = Plan::make(*graph, registry_, Shape{96, 96, 3}, {});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::string> names;
  int64_t parameters = 0;
  for (const NodeSummary& node : plan->nodes()) {
    names.push_back(node.name);
    parameters += node.parameters;
  }
  EXPECT_THAT(names, ElementsAre("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4",
                                 "flatten", "fc1", "fc2", "dropout", "out"));
  EXPECT_EQ(parameters,
            448 + 4640 + 18496 + 204928 + (6 * 6 * 128 * 512 + 512) + (512 * 256 + 256) + (256 * 40 + 40));
  for (const PlannedVariable& variable : plan->variables()) {
    EXPECT_EQ(variable.initializer.kind, InitializerKind::kTruncatedNormal) << variable.name;
    EXPECT_EQ(variable.initializer.stddev, 0.1) << variable.name;
  }
}

TEST_F(ModelFile, EveryPresetReadsBackFromWhatItPrints) {
  for (const std::string& name : preset_names()) {
    auto preset = load_model(name, registry_);
    ASSERT_TRUE(preset.ok()) << preset.status().message();
    auto again = parse(write_model(*preset));
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(again->name, preset->name);
    EXPECT_EQ(again->input, preset->input);
    EXPECT_EQ(again->nodes, preset->nodes);
    EXPECT_EQ(again->recipe, preset->recipe);
    EXPECT_NE(preset->recipe, "{}");
  }
}

TEST_F(ModelFile, ContractAndRecipeAreRead) {
  auto model = parse(R"({"name": "m", "input": {"height": 5, "width": 7, "channels": 3, "jpeg_dct": "fast",
      "exif": "apply", "resize": "exact", "scale": 0.5}, "layers": [{"op": "Flatten"}],
      "recipe": {"epochs": 3, "no-shuffle": true}})");
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->input.height, 5);
  EXPECT_EQ(model->input.width, 7);
  EXPECT_EQ(model->input.jpeg_dct, JpegDct::kFast);
  EXPECT_EQ(model->input.exif, ExifPolicy::kApply);
  EXPECT_EQ(model->input.resize, ResizePolicy::kExact);
  EXPECT_EQ(model->input.scale, 0.5F);
  EXPECT_EQ(model->recipe, R"({"epochs":3,"no-shuffle":true})");
  auto again = parse(write_model(*model));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->input, model->input);
  EXPECT_EQ(again->recipe, model->recipe);
}

TEST_F(ModelFile, NamesAndInputsHaveDefaults) {
  auto model = parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": 3, "name": "dense_1"},
      {"op": "Dense", "units": 3}, {"op": "Dense", "units": 3}, {"op": "Add", "inputs": ["dense", "dense_2"]})");
  ASSERT_TRUE(model.ok()) << model.status().message();
  std::vector<std::string> names;
  for (const Node& node : model->nodes) names.push_back(node.name);
  EXPECT_THAT(names, ElementsAre("flatten", "dense_1", "dense", "dense_2", "add"));
  EXPECT_THAT(model->nodes[0].inputs, ElementsAre("input"));
  EXPECT_THAT(model->nodes[2].inputs, ElementsAre("dense_1"));
  EXPECT_THAT(model->nodes[4].inputs, ElementsAre("dense", "dense_2"));
}

TEST_F(ModelFile, AnActivationThatNoLayerComputesIsALayer) {
  auto model = parse_layers(R"({"op": "Conv2D", "filters": 2, "kernel_size": 3, "activation": "relu6"},
      {"op": "DepthwiseConv2D", "name": "deep", "kernel_size": 3, "activation": "leaky_relu"},
      {"op": "Flatten", "name": "side", "inputs": ["conv2d"]}, {"op": "Dense", "units": 3, "activation": "relu"},
      {"op": "Flatten", "inputs": ["deep"]}, {"op": "Dense", "name": "a", "units": 3, "activation": "tanh"},
      {"op": "Add", "inputs": ["dense", "a"]})");
  ASSERT_TRUE(model.ok()) << model.status().message();
  auto written_out = parse_layers(R"({"op": "Conv2D", "name": "conv2d", "filters": 2, "kernel_size": 3},
      {"op": "ReLU6", "name": "conv2d_relu6"}, {"op": "DepthwiseConv2D", "name": "deep", "kernel_size": 3},
      {"op": "LeakyReLU", "name": "deep_leaky_relu", "negative_slope": 0.2},
      {"op": "Flatten", "name": "side", "inputs": ["conv2d_relu6"]},
      {"op": "Dense", "units": 3, "activation": "relu"}, {"op": "Flatten", "inputs": ["deep_leaky_relu"]},
      {"op": "Dense", "name": "a", "units": 3}, {"op": "Tanh", "name": "a_tanh"},
      {"op": "Add", "inputs": ["dense", "a_tanh"]})");
  ASSERT_TRUE(written_out.ok()) << written_out.status().message();
  EXPECT_EQ(model->nodes, written_out->nodes);
  auto again = parse(write_model(*model));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->nodes, model->nodes);
}

TEST_F(ModelFile, EveryActivationOfKerasIsKnownToEveryLayerThatHasOne) {
  for (const std::string name :
       {"linear", "relu", "elu", "leaky_relu", "relu6", "sigmoid", "softmax", "tanh"}) {
    for (const std::string layer : {R"({"op": "Flatten"}, {"op": "Dense", "units": 4)",
                                    R"({"op": "Conv2D", "filters": 2, "kernel_size": 3)",
                                    R"({"op": "DepthwiseConv2D", "kernel_size": 3)"}) {
      const bool is_dense = layer.find("Dense") != std::string::npos;
      if (name == "softmax" && !is_dense) continue;  // Softmax takes scores of classes
      auto model = parse_layers(layer + R"(, "name": "x", "activation": ")" + name + R"("},)" +
                                (is_dense ? "" : R"({"op": "Flatten"},)") + R"({"op": "Dense", "units": 3})");
      ASSERT_TRUE(model.ok()) << model.status().message();
      auto graph = build_graph(*model, 3, registry_);
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      EXPECT_EQ(graph->nodes().size(), name == "linear" || name == "relu" ? 3U : 4U) << name;
      EXPECT_TRUE(Plan::make(*graph, registry_, Shape{8, 8, 1}, {}).ok()) << name;
    }
  }
  EXPECT_THAT(
      refusal(parse_layers(R"({"op": "Conv2D", "filters": 2, "kernel_size": 3, "activation": "swish"})")),
      AllOf(HasSubstr("layers[0] (Conv2D): activation is \"swish\"; known are \"linear\" | \"relu\" | "),
            HasSubstr("| \"relu6\" |")));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten", "activation": "tanh"})")), HasSubstr("activation"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": 3, "activation": 6})")),
              HasSubstr("activation"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": 3, "activation": "tanh"},
                  {"op": "ReLU", "name": "dense_tanh", "inputs": ["dense"]})")),
              HasSubstr("two nodes are named \"dense_tanh\""));
}

TEST_F(ModelFile, ASoftmaxAtTheEndIsRefused) {
  // Training would take its probabilities for scores.
  for (const std::string end :
       {R"(, "activation": "softmax"})", R"(}, {"op": "Softmax", "name": "out_softmax"})"}) {
    EXPECT_THAT(
        refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "name": "out", "units": 3)" + end)),
        HasSubstr("layers: the output out_softmax is a softmax, expected the scores before it"));
  }
}

TEST_F(ModelFile, ClassesBecomeTheirNumber) {
  auto model = parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": "classes"})");
  ASSERT_TRUE(model.ok()) << model.status().message();
  auto graph = build_graph(*model, 7, registry_);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(std::get<int64_t>(graph->output().attributes.at("units")), 7);
}

TEST_F(ModelFile, RefusalsNameThePlaceAndWhatIsKnown) {
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Elu"})")),
              AllOf(HasSubstr("layers[1].op"), HasSubstr("Elu"), HasSubstr("Conv2D")));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": 0})")),
              AllOf(HasSubstr("layers[1]"), HasSubstr("units")));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten"}, {"op": "Dense", "units": 2, "unit": 2})")),
              AllOf(HasSubstr("layers[1]"), HasSubstr("unit"), HasSubstr("known are")));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Conv2D", "filtres": 4, "kernel_size": 3})")),
              HasSubstr("layers[0].filtres: unknown key; known are op, name, inputs, filters, kernel_size"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten", "nmae": "f"})")),
              HasSubstr("layers[0].nmae: unknown key; known are op, name, inputs"));
  for (const std::string units : {"class", "12"}) {
    EXPECT_THAT(refusal(parse_layers(R"({"op": "Dense", "units": ")" + units + R"("})")),
                AllOf(HasSubstr("layers[0].units: is \"" + units + "\", expected an integer, 1 to "),
                      HasSubstr(", or \"classes\"")));
  }
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Dense", "units": null})")),
              HasSubstr("layers[0].units: is null"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Dense", "units": {"a": 1}})")), HasSubstr("an object"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Dense", "units": 18446744073709551615})")),
              HasSubstr("layers[0]."));
  EXPECT_THAT(refusal(parse_layers(R"({"name": "a"})")), HasSubstr("layers[0].op: is missing"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten", "name": "../x"})")), HasSubstr("layers[0].name"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "Flatten", "inputs": [3]})")), HasSubstr("layers[0].inputs[0]"));
  EXPECT_THAT(refusal(parse_layers("")), HasSubstr("at least one layer"));
  EXPECT_THAT(refusal(parse_layers("7")), HasSubstr("expected an object"));
  EXPECT_THAT(refusal(parse("[]")), HasSubstr("expected an object"));
  EXPECT_THAT(refusal(parse("{}")), HasSubstr("name: is missing"));
  EXPECT_THAT(refusal(parse("{" + kInput + R"(, "layers": [{"op": "Flatten"}], "extra": 1})")),
              AllOf(HasSubstr("extra"), HasSubstr("recipe")));
  EXPECT_THAT(refusal(parse(R"({"name": "m", "inptu": {}, "layers": []})")),
              HasSubstr("inptu: unknown key; known are name, input, layers, recipe"));
  EXPECT_THAT(refusal(parse(R"({"name": "m", "input": {"hieght": 8}, "layers": []})")),
              HasSubstr("input.hieght: unknown key; known are height, width"));
  EXPECT_THAT(refusal(parse("{" + kInput + R"(, "layers": [{"op": "Flatten"}], "recipe": {"a": [1]}})")),
              HasSubstr("recipe."));
}

TEST_F(ModelFile, BadInputsAreRefused) {
  const auto input = [&](const std::string& text) {
    return refusal(parse(R"({"name": "m", "input": )" + text + R"(, "layers": [{"op": "Flatten"}]})"));
  };
  EXPECT_THAT(input(R"({"height": 0, "width": 8, "channels": 1})"), HasSubstr("input.height"));
  EXPECT_THAT(input(R"({"height": 8.5, "width": 8, "channels": 1})"), HasSubstr("input.height"));
  EXPECT_THAT(input(R"({"height": 8, "width": 99999999999999999999, "channels": 1})"),
              HasSubstr("input.width"));
  EXPECT_THAT(input(R"({"height": 8, "width": 8, "channels": 2})"), HasSubstr("input.channels"));
  EXPECT_THAT(input(R"({"height": 8, "width": 8, "channels": 1, "exif": "rotate"})"),
              AllOf(HasSubstr("input.exif"), HasSubstr("apply")));
  EXPECT_THAT(input(R"({"height": 8, "width": 8, "channels": 1, "scale": 0})"), HasSubstr("input.scale"));
  EXPECT_THAT(input(R"({"height": 8, "width": 8, "channels": 1, "depth": 1})"), HasSubstr("known are"));
}

TEST_F(ModelFile, CyclesAndLooseEndsAreRefused) {
  EXPECT_THAT(
      refusal(parse_layers(R"({"op": "ReLU", "name": "a", "inputs": ["b"]}, {"op": "ReLU", "name": "b"})")),
      HasSubstr("layers"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "ReLU", "name": "a", "inputs": ["a"]})")), HasSubstr("layers"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "ReLU", "name": "a", "inputs": ["x"]})")), HasSubstr("x"));
  EXPECT_THAT(refusal(parse_layers(R"({"op": "ReLU", "name": "a"}, {"op": "ReLU", "name": "a"})")),
              HasSubstr("a"));
}

TEST_F(ModelFile, HostileTextIsRefused) {
  constexpr size_t kDeep = 1000000;
  EXPECT_THAT(refusal(parse(std::string(kDeep, '['))), HasSubstr("nested"));
  std::string objects;
  for (size_t i = 0; i < kDeep; ++i) objects += "{\"a\":";
  EXPECT_THAT(refusal(parse(objects)), HasSubstr("nested"));
  EXPECT_THAT(refusal(parse(R"({"name": "a", "name": "b"})")), HasSubstr("twice"));
  EXPECT_THAT(refusal(parse(R"({"name": "a")")), HasSubstr("line 1"));
  EXPECT_THAT(refusal(parse("{} {}")), HasSubstr("line 1"));
  EXPECT_THAT(refusal(parse("{\"name\": \"\xff\xfe\"}")), HasSubstr("line 1"));
  EXPECT_THAT(refusal(parse("{\"name\": 1e999}")), HasSubstr("m.json"));
  EXPECT_THAT(refusal(parse("")), HasSubstr("m.json"));
  refusal(parse(std::string(kMaxJsonBytes + 1, ' ')), StatusCode::kLimit);
  refusal(parse("{\"name\": \"" + std::string(100000, 'x') + "\", \"input\": 1}"));
}

TEST_F(ModelFile, AnUnknownNameListsThePresets) {
  auto none = load_model("face97", registry_);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), StatusCode::kUsage);
  EXPECT_THAT(none.status().message(), AllOf(HasSubstr("face97"), HasSubstr("face96, fashion28")));
  auto file = load_model("/nowhere/model.json", registry_);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), StatusCode::kIo);
}

}  // namespace
}  // namespace nacre
