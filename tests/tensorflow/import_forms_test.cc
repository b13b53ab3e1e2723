// Forms in which other programs write what nacre has, and what looks like it but is not: as few nodes as show
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "tests/tensorflow/saved_model_files.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

using tensorflow::GraphDef;
using tensorflow::NodeDef;
using testing::ElementsAre;
using testing::HasSubstr;

class ImportForms : public testing::Test {
 protected:
  static Result<ImportedModel> import(const std::function<void(GraphDef&)>& build,
                                      const ImportOptions& options = {},
                                      const std::vector<int64_t>& shape = {-1, 8, 8, 3}) {
    const std::string folder = test_folder();
    write_small_graph(folder, shape, build);
    return import_saved_model(folder, options, builtin_ops());
  }
  static void expect_refused(const Result<ImportedModel>& model, StatusCode code, const std::string& reason) {
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.status().code(), code) << model.status().message();
    EXPECT_THAT(model.status().message(), HasSubstr(reason));
  }
  static std::vector<std::string> ops_of(const Result<ImportedModel>& model) {
    EXPECT_TRUE(model.ok()) << model.status().message();
    std::vector<std::string> ops;
    if (!model.ok()) return ops;
    for (const Node& node : model->graph.nodes()) ops.push_back(node.op);
    return ops;
  }
};

/// `op` of the image and a constant of `values`, then a network.
std::function<void(GraphDef&)> with_first_steps(
    const std::vector<std::pair<std::string, std::vector<float>>>& steps) {
  return [steps](GraphDef& graph) {
    std::string last = "image";
    for (size_t i = 0; i < steps.size(); ++i) {
      const auto& [op, values] = steps[i];
      const std::string name = "step" + std::to_string(i);
      if (op == "Pad") {
        add_integers(graph, name + "/by", {4, 2}, {0, 0, 1, 1, 1, 1, 0, 0});
      } else {
        const auto count = static_cast<int64_t>(values.size());
        add_constant(graph, name + "/by", count > 1 ? std::vector{count} : std::vector<int64_t>(), values);
      }
      add(graph, name, op, {last, name + "/by"});
      last = name;
    }
    add_head(graph, last, 3, "out");
  };
}

TEST_F(ImportForms, WhatOnlyLevelsNeedTellsTheScale) {
  const auto scale = [](const std::vector<std::pair<std::string, std::vector<float>>>& steps, bool told) {
    const auto model = import(with_first_steps(steps));
    EXPECT_TRUE(model.ok()) << model.status().message();
    if (!model.ok()) return 0.0F;
    EXPECT_EQ(model->scale_told, told);
    return model->contract.scale;
  };
  constexpr float kUnits = 1.0F / 255.0F;
  EXPECT_EQ(scale({{"Mul", {kUnits}}}, true), kUnits);
  EXPECT_EQ(scale({{"Pad", {}}, {"Mul", {kUnits}}}, true), 1.0F);
  EXPECT_EQ(scale({{"Sub", {123, 116, 103}}, {"RealDiv", {58, 57, 57}}}, true), 1.0F);
  EXPECT_EQ(scale({{"Sub", {123, 116, 103}}}, true), 1.0F);
  EXPECT_EQ(scale({{"Pad", {}}, {"RealDiv", {255}}, {"Sub", {0.5F}}}, true), 1.0F);
  // Numbers of 0 to 1, made even.
  EXPECT_EQ(scale({{"Sub", {0.485F, 0.456F, 0.406F}}, {"RealDiv", {0.229F, 0.224F, 0.225F}}}, false), kUnits);
  EXPECT_EQ(scale({{"RealDiv", {0.2F, 0.2F, 0.3F}}, {"Sub", {2.4F, 2.1F, 1.8F}}}, false), kUnits);
  EXPECT_EQ(scale({{"Mul", {2}}, {"Sub", {1}}}, false), 2 * kUnits);
}

TEST_F(ImportForms, FactorsThatAreNoScaleAreLayers) {
  for (const float factor : {-2.0F, 0.0F, -1.0F / 127.5F, -HUGE_VALF}) {
    ImportOptions options;
    options.allow_nonfinite = true;
    const auto model = import(with_first_steps({{"Mul", {factor}}, {"AddV2", {1}}}), options);
    EXPECT_THAT(ops_of(model), ElementsAre("BatchNorm", "GlobalAvgPool2D", "Dense")) << factor;
    EXPECT_TRUE(model.ok() && model->contract.scale > 0.0F);
  }
}

TEST_F(ImportForms, AnInputThatOneReaderScalesIsAskedAbout) {
  const auto build = [](GraphDef& graph) {
    add_constant(graph, "by", {}, {1.0F / 255.0F});
    add(graph, "scaled", "Mul", {"image", "by"});
    add(graph, "sum", "AddV2", {"scaled", "image"});
    add_head(graph, "sum", 3, "out");
  };
  expect_refused(import(build), StatusCode::kBadData, "--scale");
  ImportOptions options;
  options.scale = 1;
  const auto model = import(build, options);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->contract.scale, 1.0F);
}

TEST_F(ImportForms, AScaleOfTheOptionsComesBeforeTheGraphsOwn) {
  ImportOptions options;
  options.scale = 0.5;
  const auto model = import(with_first_steps({{"Mul", {2}}}), options);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->contract.scale, 1.0F);
}

TEST_F(ImportForms, ASoftmaxOfOneClassIsOneOfNacres) {
  const auto model = import([](GraphDef& graph) {
    add_head(graph, "image", 3, "scores", 1);
    add(graph, "out", "Softmax", {"scores"});
  });
  EXPECT_THAT(ops_of(model), ElementsAre("GlobalAvgPool2D", "Dense", "Softmax"));
}

TEST_F(ImportForms, WeightsThatAreNotFiniteAreRefusedUnlessAllowed) {
  const auto build = [](GraphDef& graph) {
    add_constant(graph, "by", {3}, {1, NAN, 2});
    add(graph, "step", "Mul", {"image", "by"});
    add_head(graph, "step", 3, "out");
  };
  expect_refused(import(build), StatusCode::kDiverged, "holds a value that is NaN or infinite");
  ImportOptions options;
  options.allow_nonfinite = true;
  EXPECT_TRUE(import(build, options).ok());
}

TEST_F(ImportForms, AnOutputThatIsNoScoresIsRefused) {
  expect_refused(import([](GraphDef& graph) { add_head(graph, "image", 3, "out", 1); }),
                 StatusCode::kUnsupported, "ends in one number");
  for (const std::string op : {"Softmax", "Sigmoid", "Tanh"}) {
    const auto model = import([&](GraphDef& graph) {
      add_head(graph, "image", 3, "scores");
      add(graph, "odds", op, {"scores"});
      add_constant(graph, "by", {}, {100});
      add(graph, "out", "Mul", {"odds", "by"});
    });
    expect_refused(model, StatusCode::kUnsupported, "ends in " + op);
  }
  const auto hard_sigmoid = import([](GraphDef& graph) {
    add_head(graph, "image", 3, "scores");
    add_constant(graph, "three", {}, {3});
    add(graph, "shifted", "AddV2", {"scores", "three"});
    add(graph, "clipped", "Relu6", {"shifted"});
    add_constant(graph, "by", {}, {1.0F / 6.0F});
    add(graph, "out", "Mul", {"clipped", "by"});
  });
  expect_refused(hard_sigmoid, StatusCode::kUnsupported,
                 "ends in ReLU6 \"clipped\" with a BatchNorm behind it");
  const auto ensemble = import([&](GraphDef& graph) {
    add_head(graph, "image", 3, "scores");
    add(graph, "a", "Softmax", {"scores"});
    add(graph, "out", "AddV2", {"a", "a"});
  });
  expect_refused(ensemble, StatusCode::kUnsupported, "ends in Softmax");
}

/// Images of 1 x 1, then what `build` adds.
std::function<void(GraphDef&)> behind_one_position(const std::function<void(GraphDef&)>& build) {
  return [build](GraphDef& graph) {
    add_integers(graph, "axes", {2}, {1, 2});
    (*add(graph, "mean", "Mean", {"image", "axes"}).mutable_attr())["keep_dims"].set_b(true);
    add_constant(graph, "kernel", {1, 1, 3, 4}, {0.5F});
    (*add(graph, "conv", "Conv2D", {"mean", "kernel"}).mutable_attr())["padding"].set_s("VALID");
    build(graph);
  };
}

TEST_F(ImportForms, ScoresOfOnePositionAreARow) {
  EXPECT_THAT(
      ops_of(import(behind_one_position([](GraphDef& graph) { add(graph, "out", "Softmax", {"conv"}); }))),
      ElementsAre("GlobalAvgPool2D", "Conv2D", "Flatten", "Softmax"));
  EXPECT_THAT(ops_of(import(behind_one_position([](GraphDef& graph) {
                add(graph, "odds", "Softmax", {"conv"});
                add_integers(graph, "row", {2}, {-1, 4});
                add(graph, "out", "Reshape", {"odds", "row"});
              }))),
              ElementsAre("GlobalAvgPool2D", "Conv2D", "Flatten", "Softmax"));
  EXPECT_THAT(
      ops_of(import(behind_one_position([](GraphDef& graph) { add(graph, "out", "Relu", {"conv"}); }))),
      ElementsAre("GlobalAvgPool2D", "Conv2D", "Flatten"));
}

TEST_F(ImportForms, ScoresOfManyPositionsAreRefused) {
  for (const std::string op : {"Softmax", "Relu"}) {
    expect_refused(import([&](GraphDef& graph) { add(graph, "out", op, {"image"}); }),
                   StatusCode::kUnsupported, "[N, 8, 8, 3]");
  }
}

TEST_F(ImportForms, SumsThatRepeatAnInputAreNamed) {
  const auto model = import([](GraphDef& graph) {
    add_integers(graph, "axes", {2}, {1, 2});
    (*add(graph, "mean", "Mean", {"image", "axes"}).mutable_attr())["keep_dims"].set_b(true);
    add(graph, "sum", "AddV2", {"image", "mean"});
    add_head(graph, "sum", 3, "out");
  });
  expect_refused(model, StatusCode::kUnsupported, "node \"sum\" (AddV2)");
}

TEST_F(ImportForms, RandomNumbersAreNamed) {
  const auto model = import([](GraphDef& graph) {
    add_integers(graph, "shape", {1}, {3});
    add(graph, "draw", "RandomUniform", {"shape"});
    add_constant(graph, "half", {}, {0.5F});
    add(graph, "choice", "Greater", {"draw", "half"});
    add(graph, "mirrored", "SelectV2", {"choice", "image", "image"});
    add_head(graph, "mirrored", 3, "out");
  });
  expect_refused(model, StatusCode::kUnsupported, "node \"draw\" (RandomUniform): draws random numbers");
}

TEST_F(ImportForms, ExplicitPaddingIsNamed) {
  const auto model = import([](GraphDef& graph) {
    add_constant(graph, "kernel", {3, 3, 3, 4}, {0.5F});
    (*add(graph, "conv", "Conv2D", {"image", "kernel"}).mutable_attr())["padding"].set_s("EXPLICIT");
    add_head(graph, "conv", 4, "out");
  });
  expect_refused(model, StatusCode::kUnsupported, "node \"conv\" (Conv2D): explicit padding");
}

TEST_F(ImportForms, TheSizeIsAskedForOnlyWhenNothingElseStandsInTheWay) {
  const auto build = [](const std::string& op) {
    return [op](GraphDef& graph) {
      add(graph, "step", op, {"image"});
      add_head(graph, "step", 3, "out");
    };
  };
  expect_refused(import(build("Cumsum"), {}, {-1, -1, -1, 3}), StatusCode::kUnsupported,
                 "node \"step\" (Cumsum)");
  expect_refused(import(build("Relu"), {}, {-1, -1, -1, 3}), StatusCode::kBadData, "--input-size");
  ImportOptions options;
  options.height = options.width = 8;
  EXPECT_THAT(ops_of(import(build("Relu"), options, {-1, -1, -1, 3})),
              ElementsAre("ReLU", "GlobalAvgPool2D", "Dense"));
}

/// A convolution of 3 x 3 by blocks, as dilations are written, with these paddings and crops of 8 x 8 images.
std::function<void(GraphDef&)> dilated(const std::vector<int>& paddings, const std::vector<int>& crops) {
  return [=](GraphDef& graph) {
    add_integers(graph, "block", {2}, {2, 3});
    add_integers(graph, "paddings", {2, 2}, paddings);
    add_integers(graph, "crops", {2, 2}, crops);
    add_constant(graph, "kernel", {3, 3, 3, 4}, {0.5F});
    add(graph, "split", "SpaceToBatchND", {"image", "block", "paddings"});
    (*add(graph, "conv", "Conv2D", {"split", "kernel"}).mutable_attr())["padding"].set_s("VALID");
    add(graph, "merge", "BatchToSpaceND", {"conv", "block", "crops"});
    add_head(graph, "merge", 4, "out");
  };
}

TEST_F(ImportForms, ConvolutionsByBlocksAreDilations) {
  for (const bool same : {true, false}) {
    const auto model =
        same ? import(dilated({2, 2, 3, 4}, {0, 0, 0, 1})) : import(dilated({0, 0, 0, 1}, {0, 0, 0, 1}));
    EXPECT_THAT(ops_of(model), ElementsAre("Conv2D", "GlobalAvgPool2D", "Dense"));
    if (!model.ok()) continue;
    const AttrMap& attributes = model->graph.nodes()[0].attributes;
    EXPECT_EQ(std::get<std::string>(attributes.at("padding")), same ? "same" : "valid");
    EXPECT_EQ(std::get<std::vector<int64_t>>(attributes.at("dilation_rate")), (std::vector<int64_t>{2, 3}));
  }
  // Neither of both, and cropped otherwise.
  expect_refused(import(dilated({1, 1, 0, 1}, {0, 0, 0, 1})), StatusCode::kUnsupported, "SpaceToBatchND");
  expect_refused(import(dilated({0, 0, 0, 1}, {0, 0, 1, 0})), StatusCode::kUnsupported, "SpaceToBatchND");
  expect_refused(import(dilated({0, 1, 0, 1}, {0, 1, 0, 1})), StatusCode::kUnsupported, "SpaceToBatchND");
}

TEST_F(ImportForms, AnEluOfAnotherAlphaIsRecognizedInTheOrderOfEitherBranch) {
  for (const bool elu_first : {true, false}) {
    const auto model = import([&](GraphDef& graph) {
      add_constant(graph, "zero", {}, {0});
      add_constant(graph, "alpha", {}, {0.5F});
      if (elu_first) add(graph, "elu", "Elu", {"image"});
      add(graph, "positive", "Greater", {"image", "zero"});
      if (!elu_first) add(graph, "elu", "Elu", {"image"});
      add(graph, "scaled", "Mul", {"alpha", "elu"});
      add(graph, "choice", "SelectV2", {"positive", "elu", "scaled"});
      add_head(graph, "choice", 3, "out");
    });
    EXPECT_THAT(ops_of(model), ElementsAre("ELU", "GlobalAvgPool2D", "Dense"));
    if (!model.ok()) continue;
    EXPECT_EQ(std::get<double>(model->graph.nodes()[0].attributes.at("alpha")), 0.5);
  }
}

TEST_F(ImportForms, AConstantMinusTheImageIsALayer) {
  const auto model = import([](GraphDef& graph) {
    add_constant(graph, "one", {}, {1});
    add(graph, "step", "Sub", {"one", "image"});
    add_head(graph, "step", 3, "out");
  });
  EXPECT_THAT(ops_of(model), ElementsAre("BatchNorm", "GlobalAvgPool2D", "Dense"));
}

/// The first image decoded, and resized to 8 x 8, with what `before` and `after` add.
class ImportDecoders : public ImportForms {
 protected:
  using Step = std::function<std::string(GraphDef&, const std::string&)>;
  static std::string same(GraphDef& /*graph*/, const std::string& image) { return image; }
  static Result<ImportedModel> decode(const Step& before, const Step& after) {
    return import(
        [&](GraphDef& graph) {
          add_integers(graph, "0", {1}, {0});
          add_integers(graph, "1", {1}, {1});
          (*add(graph, "first", "StridedSlice", {"image", "0", "1", "1"}).mutable_attr())["shrink_axis_mask"]
              .set_i(1);
          (*add(graph, "pixels", "DecodeJpeg", {"first"}).mutable_attr())["channels"].set_i(3);
          (*add(graph, "floats", "Cast", {"pixels"}).mutable_attr())["DstT"].set_type(tensorflow::DT_FLOAT);
          add_integers(graph, "axis", {}, {0});
          add_integers(graph, "size", {2}, {8, 8});
          add(graph, "batch", "ExpandDims", {before(graph, "floats"), "axis"});
          auto& resize = *add(graph, "resized", "ResizeBilinear", {"batch", "size"}).mutable_attr();
          resize["half_pixel_centers"].set_b(true);
          (*add(graph, "one", "Squeeze", {"resized"}).mutable_attr())["squeeze_dims"].mutable_list()->add_i(
              0);
          add_head(graph, after(graph, "one"), 3, "out");
        },
        {}, {});
  }
  /// image[None]
  static std::string none(GraphDef& graph, const std::string& image) {
    (*add(graph, "none", "StridedSlice", {image, "0", "0", "1"}).mutable_attr())["new_axis_mask"].set_i(1);
    return "none";
  }
};

TEST_F(ImportDecoders, ANewAxisMakesABatch) {
  const auto model = decode(same, none);
  EXPECT_THAT(ops_of(model), ElementsAre("GlobalAvgPool2D", "Dense"));
  EXPECT_EQ(model->contract.height, 8);
  EXPECT_EQ(model->contract.resize, ResizePolicy::kBilinear);
}

TEST_F(ImportDecoders, StepsOfOneImageAreLayers) {
  const auto model = decode(same, [](GraphDef& graph, const std::string& image) {
    add_constant(graph, "by", {}, {127.5F});
    add_constant(graph, "mean", {3}, {0.5F, 0.4F, 0.3F});
    add(graph, "scaled", "RealDiv", {image, "by"});
    add(graph, "even", "Sub", {"scaled", "mean"});
    return none(graph, "even");
  });
  EXPECT_THAT(ops_of(model), ElementsAre("BatchNorm", "GlobalAvgPool2D", "Dense"));
  EXPECT_EQ(model->contract.scale, static_cast<float>(1.0 / 127.5));
}

TEST_F(ImportDecoders, TheNodeThatIsNoStepIsNamed) {
  const auto model = decode(same, [](GraphDef& graph, const std::string& image) {
    add_integers(graph, "axes", {1}, {1});
    add(graph, "mirrored", "ReverseV2", {image, "axes"});
    return none(graph, "mirrored");
  });
  expect_refused(model, StatusCode::kUnsupported, "node \"mirrored\" (ReverseV2)");
}

TEST_F(ImportDecoders, AnImageInAnotherShapeIsNotResized) {
  const auto model = decode(
      [](GraphDef& graph, const std::string& image) {
        add_integers(graph, "other", {3}, {25, 80, 3});
        add(graph, "reshaped", "Reshape", {image, "other"});
        return std::string("reshaped");
      },
      none);
  expect_refused(model, StatusCode::kUnsupported, "node \"resized\" (ResizeBilinear)");
}

TEST_F(ImportDecoders, Tf1sWayOfResizingIsNamed) {
  const std::string folder = test_folder();
  for (const bool corners : {true, false}) {
    const auto model = import(
        [&](GraphDef& graph) {
          add_integers(graph, "0", {1}, {0});
          add_integers(graph, "1", {1}, {1});
          (*add(graph, "first", "StridedSlice", {"image", "0", "1", "1"}).mutable_attr())["shrink_axis_mask"]
              .set_i(1);
          (*add(graph, "pixels", "DecodeJpeg", {"first"}).mutable_attr())["channels"].set_i(3);
          add_integers(graph, "axis", {}, {0});
          add(graph, "batch", "ExpandDims", {"pixels", "axis"});
          add_integers(graph, "size", {2}, {8, 8});
          auto& resize = *add(graph, "resized", "ResizeBilinear", {"batch", "size"}).mutable_attr();
          resize["align_corners"].set_b(corners);
          add_head(graph, "resized", 3, "out");
        },
        {}, {});
    expect_refused(model, StatusCode::kUnsupported,
                   "node \"resized\" (ResizeBilinear): expected half_pixel_centers");
  }
}

}  // namespace
}  // namespace nacre
