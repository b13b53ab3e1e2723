// Which signatures of a SavedModel give what nacre predicts, and how clients call them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "tests/tensorflow/saved_model_files.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

using tensorflow::GraphDef;
using tensorflow::MetaGraphDef;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ImportedSignature signature(const std::string& name, const std::string& input, const std::string& output,
                            const std::string& dtype, double factor = 1) {
  return {name, input, output, dtype, factor};
}

ImportedSignatures told(const std::string& folder) {
  ImportOptions options;
  options.tell_signatures = true;
  auto model = import_saved_model(folder, options, builtin_ops());
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.ok() ? std::move(model->signatures) : ImportedSignatures();
}

std::string reason(const ImportedSignatures& signatures, const std::string& name) {
  const auto found = std::ranges::find(signatures.left_out, name, &ImportedSignatures::LeftOut::name);
  return found == signatures.left_out.end() ? "not left out" : found->reason;
}

std::string written(bool float_default, bool reference = false) {
  std::string folder = test_folder() + "/model";
  const Registry registry = builtin_ops();
  SavedModelOptions writing;
  writing.float_default = float_default;
  writing.reference = reference;
  const auto made = write_saved_model(folder, preset_bundle("lenet5", registry), registry, writing);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return folder;
}

TEST(SavedModelSignatures, NacresOwnPredictAlike) {
  const ImportedSignatures floats = told(written(true));
  EXPECT_THAT(floats.answered, ElementsAre(signature("encoded_image", "image", "prediction", "string"),
                                           signature("float_image", "image", "prediction", "float32"),
                                           signature("serving_default", "image", "prediction", "float32")));
  EXPECT_THAT(floats.left_out, IsEmpty());
  for (const bool reference : {false, true}) {
    const ImportedSignatures encoded = told(written(false, reference));
    ASSERT_EQ(encoded.answered.size(), 3U);
    EXPECT_EQ(encoded.answered[2], signature("serving_default", "image", "prediction", "string"));
    EXPECT_THAT(encoded.left_out, IsEmpty());
  }
}

TEST(SavedModelSignatures, AreNotToldUnasked) {
  const auto model = import_saved_model(written(true), {}, builtin_ops());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_THAT(model->signatures.answered, IsEmpty());
}

/// Of another program: under its own names, and examples are none of what is read.
TEST(SavedModelSignatures, KeepTheirNames) {
  const std::string folder = written(true);
  std::filesystem::remove_all(folder + "/assets.extra");
  change_saved_model(folder, [](MetaGraphDef& meta) {
    auto& signatures = *meta.mutable_signature_def();
    tensorflow::SignatureDef own;
    own.set_method_name("tensorflow/serving/predict");
    (*own.mutable_inputs())["pixels"] = signatures["float_image"].inputs().at("image");
    (*own.mutable_outputs())["probs"] = signatures["float_image"].outputs().at("prediction");
    signatures["serve"] = own;
    signatures["__saved_model_init_op"] = {};
    signatures["__saved_model_train_op"] = {};
  });
  const ImportedSignatures signatures = told(folder);
  ASSERT_EQ(signatures.answered.size(), 4U);
  EXPECT_EQ(signatures.answered[2], signature("serve", "pixels", "probs", "float32"));
  ASSERT_EQ(signatures.left_out.size(), 1U);
  EXPECT_EQ(signatures.left_out[0].name, "classify");
}

TEST(SavedModelSignatures, OfAnotherContractAreLeftOut) {
  const std::string folder = written(true);
  std::filesystem::remove_all(folder + "/assets.extra");
  change_saved_model(folder, [](MetaGraphDef& meta) {
    for (auto& function : *meta.mutable_graph_def()->mutable_library()->mutable_function()) {
      for (auto& node : *function.mutable_node_def()) {
        const bool decoder = node.op() == "DecodeJpeg" || node.op() == "DecodeImage";
        if (decoder) (*node.mutable_attr())["dct_method"].set_s("INTEGER_FAST");
      }
    }
  });
  const ImportedSignatures signatures = told(folder);
  EXPECT_EQ(reason(signatures, "encoded_image"), "reads images in another way than \"serving_default\"");
  EXPECT_EQ(reason(signatures, "float_image"), "not left out");
}

/// A graph of levels [N, 8, 8, 3] with several outputs, and `serving_default` for the first.
class SmallSignatures : public testing::Test {
 protected:
  void SetUp() override {
    write_small_graph(folder_, {-1, 8, 8, 3}, [](GraphDef& graph) {
      add_constant(graph, "by", {}, {1.0F / 255.0F});
      add(graph, "scaled", "Mul", {"image", "by"});
      add_head(graph, "scaled", 3, "out");
      add(graph, "probabilities", "Softmax", {"out"});
      add_constant(graph, "other/kernel", {3, 4}, {0.5F, 0.25F});
      add(graph, "other", "MatMul", {"out/mean", "other/kernel"});
      add(graph, "others", "Softmax", {"other"});
      add(graph, "relu", "Relu", {"scaled"});
      add_head(graph, "relu", 3, "longer");
      add(graph, "longers", "Softmax", {"longer"});
    });
    set("serving_default", "probabilities");
  }
  /// Sets a signature; returns it to be changed further.
  void set(const std::string& name, const std::string& node,
           const std::function<void(tensorflow::SignatureDef&)>& change = {}) {
    change_saved_model(folder_, [&](MetaGraphDef& meta) {
      tensorflow::SignatureDef definition = meta.signature_def().at("serving_default");
      definition.set_method_name("tensorflow/serving/predict");
      auto& output = (*definition.mutable_outputs())["scores"];
      output.set_name(node + ":0");
      output.clear_tensor_shape();
      output.mutable_tensor_shape()->add_dim()->set_size(-1);
      output.mutable_tensor_shape()->add_dim()->set_size(4);
      if (change) change(definition);
      (*meta.mutable_signature_def())[name] = definition;
    });
  }
  std::string folder_ = test_folder();
};

TEST_F(SmallSignatures, TellWhatTheGraphMultipliesNumbersBy) {
  const ImportedSignatures signatures = told(folder_);
  EXPECT_THAT(signatures.left_out, IsEmpty());
  ASSERT_EQ(signatures.answered.size(), 1U);
  EXPECT_EQ(signatures.answered[0],
            signature("serving_default", "image", "scores", "float32", double{1.0F / 255.0F}));
}

TEST_F(SmallSignatures, TellScoresFromProbabilitiesWhicheverTheModelIsReadOf) {
  ImportedSignature probabilities =
      signature("probabilities", "image", "scores", "float32", double{1.0F / 255.0F});
  ImportedSignature scores = probabilities;
  scores.scores = true;
  for (const bool default_is_scores : {true, false}) {
    set(default_is_scores ? "probabilities" : "serving_default", "probabilities");
    set(default_is_scores ? "serving_default" : "xscores", "out");
    if (!default_is_scores)
      change_saved_model(folder_,
                         [](MetaGraphDef& meta) { meta.mutable_signature_def()->erase("probabilities"); });
    const ImportedSignatures signatures = told(folder_);
    EXPECT_THAT(signatures.left_out, IsEmpty());
    probabilities.name = default_is_scores ? "probabilities" : "serving_default";
    scores.name = default_is_scores ? "serving_default" : "xscores";
    EXPECT_THAT(signatures.answered, ElementsAre(probabilities, scores));
  }
}

TEST_F(SmallSignatures, OfOtherNetworksAreLeftOut) {
  set("other", "others");
  set("longer", "longers");
  set("lacking", "nowhere");
  const ImportedSignatures signatures = told(folder_);
  EXPECT_EQ(reason(signatures, "other"), "computes something else than \"serving_default\"");
  EXPECT_EQ(reason(signatures, "longer"), "computes something else than \"serving_default\"");
  EXPECT_THAT(reason(signatures, "lacking"), HasSubstr("nowhere"));
  EXPECT_EQ(signatures.answered.size(), 1U);
}

TEST_F(SmallSignatures, OfOtherFormsAreLeftOut) {
  set("any_size", "probabilities", [](tensorflow::SignatureDef& definition) {
    auto& shape = *(*definition.mutable_inputs())["image"].mutable_tensor_shape();
    shape.mutable_dim(1)->set_size(-1);
  });
  set("images", "probabilities", [](tensorflow::SignatureDef& definition) {
    auto& shape = *(*definition.mutable_outputs())["scores"].mutable_tensor_shape();
    shape.add_dim()->set_size(1);
  });
  set("classify", "probabilities", [](tensorflow::SignatureDef& definition) {
    definition.set_method_name("tensorflow/serving/classify");
  });
  set("two", "probabilities", [](tensorflow::SignatureDef& definition) {
    (*definition.mutable_outputs())["again"] = definition.outputs().at("scores");
  });
  const ImportedSignatures signatures = told(folder_);
  EXPECT_EQ(reason(signatures, "any_size"), "does not tell the size of its images");
  EXPECT_EQ(reason(signatures, "images"), "expected an output [N, classes]");
  EXPECT_EQ(reason(signatures, "classify"), "its method is \"tensorflow/serving/classify\"");
  EXPECT_THAT(reason(signatures, "two"), HasSubstr("found 1 and 2"));
  EXPECT_EQ(signatures.answered.size(), 1U);
}

TEST_F(SmallSignatures, NumbersThatTheGraphResizesAreLeftOut) {
  write_small_graph(folder_, {-1, -1, -1, 3}, [](GraphDef& graph) {
    add_integers(graph, "size", {2}, {8, 8});
    (*add(graph, "resized", "ResizeBilinear", {"image", "size"}).mutable_attr())["half_pixel_centers"].set_b(
        true);
    add_head(graph, "resized", 3, "out");
    add(graph, "probabilities", "Softmax", {"out"});
  });
  set("serving_default", "probabilities");
  EXPECT_EQ(reason(told(folder_), "serving_default"), "takes numbers of images of any size");
}

TEST_F(SmallSignatures, MayTakeLevels) {
  change_saved_model(folder_, [](MetaGraphDef& meta) {
    auto& input = (*(*meta.mutable_signature_def())["serving_default"].mutable_inputs())["image"];
    input.set_dtype(tensorflow::DT_UINT8);
    (*node_of(meta, "image").mutable_attr())["dtype"].set_type(tensorflow::DT_UINT8);
    node_of(meta, "scaled").set_input(0, "cast");
    (*add(*meta.mutable_graph_def(), "cast", "Cast", {"image"}).mutable_attr())["DstT"].set_type(
        tensorflow::DT_FLOAT);
  });
  const ImportedSignatures signatures = told(folder_);
  ASSERT_EQ(signatures.answered.size(), 1U);
  EXPECT_EQ(signatures.answered[0].dtype, "uint8");
}

/// Reading one takes time.
TEST_F(SmallSignatures, AreReadUpToABound) {
  for (int i = 0; i < 18; ++i) set("s" + std::to_string(10 + i), "probabilities");
  const ImportedSignatures signatures = told(folder_);
  EXPECT_EQ(signatures.answered.size(), 17U);
  EXPECT_THAT(reason(signatures, "s26"), HasSubstr("behind 16 others"));
}

}  // namespace
}  // namespace nacre
