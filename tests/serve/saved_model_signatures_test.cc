// A SavedModel is served by the signatures that it has itself, under its own names.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "serve/grpc/prediction.h"
#include "serve/version_model.h"
#include "tests/serve/serve_fixture.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using ::testing::Contains;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json pixels(int64_t side, double value) {
  return Json::array_t(side, Json::array_t(side, Json::array_t(3, value)));
}

class ServedSignatures : public ServeTest {
 protected:
  /// Levels [N, 4, 4, 3] of `type`; `scores` are 4 * r and 0, of the mean red r in units, `probs` their
  /// softmax, sigmoid(4 * r) and the rest of 1. And a `float_image` that is not served.
  void write_levels(tensorflow::DataType type) {
    std::filesystem::create_directories(path("m/1"));
    write_small_graph(path("m/1"), {-1, 4, 4, 3}, [](tensorflow::GraphDef& graph) {
      (*add(graph, "cast", "Cast", {"image"}).mutable_attr())["DstT"].set_type(tensorflow::DT_FLOAT);
      add_constant(graph, "by", {}, {1.0F / 255.0F});
      add(graph, "scaled", "Mul", {"cast", "by"});
      add_integers(graph, "axes", {2}, {1, 2});
      add(graph, "mean", "Mean", {"scaled", "axes"});
      add_constant(graph, "kernel", {3, 2}, {4, 0, 0, 0, 0, 0});
      add(graph, "out", "MatMul", {"mean", "kernel"});
      add(graph, "probabilities", "Softmax", {"out"});
    });
    change([type](tensorflow::MetaGraphDef& meta) {
      tensorflow::SignatureDef& definition = (*meta.mutable_signature_def())["serving_default"];
      tensorflow::TensorInfo input = definition.inputs().at("image");
      input.set_dtype(type);
      definition.Clear();
      definition.set_method_name("tensorflow/serving/predict");
      (*definition.mutable_inputs())["pixels"] = input;
      tensorflow::TensorInfo& output = (*definition.mutable_outputs())["probs"];
      output.set_name("probabilities:0");
      output.set_dtype(tensorflow::DT_FLOAT);
      output.mutable_tensor_shape()->add_dim()->set_size(-1);
      output.mutable_tensor_shape()->add_dim()->set_size(2);
      tensorflow::SignatureDef scores = definition;
      (*scores.mutable_outputs())["scores"] = output;
      (*scores.mutable_outputs())["scores"].set_name("out:0");
      scores.mutable_outputs()->erase("probs");
      (*meta.mutable_signature_def())["scores"] = scores;
      scores.set_method_name("tensorflow/serving/regress");
      (*meta.mutable_signature_def())["float_image"] = scores;
    });
  }
  void change(const std::function<void(tensorflow::MetaGraphDef&)>& change) {
    tensorflow::SavedModel model;
    ASSERT_TRUE(model.ParseFromString(read_text(path("m/1/saved_model.pb"))));
    change(*model.mutable_meta_graphs(0));
    write_text(path("m/1/saved_model.pb"), model.SerializeAsString());
  }
  void start() {
    serve({{"m", path("m"), {}, {}}});
    ASSERT_NE(found("m"), nullptr) << testing::PrintToString(lines());
    serve_rest();
  }
  [[nodiscard]] Json ask(const Json& body) const {
    Wire wire(rest_->port());
    const WireReply reply = wire.ask("POST", "/v1/models/m:predict", body.dump());
    return Json::parse(reply.body);
  }
  [[nodiscard]] Json metadata() const {
    Wire wire(rest_->port());
    const Json reply = Json::parse(wire.ask("GET", "/v1/models/m/metadata").body);
    return reply["metadata"]["signature_def"]["signature_def"];
  }
  static tfs::PredictRequest request(const std::string& input, tensorflow::DataType type, int64_t side) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("m");
    tensorflow::TensorProto& tensor = (*request.mutable_inputs())[input];
    tensor.set_dtype(type);
    for (const int64_t extent : {int64_t{1}, side, side, int64_t{3}}) {
      tensor.mutable_tensor_shape()->add_dim()->set_size(extent);
    }
    return request;
  }
  RpcStatus predict(const tfs::PredictRequest& request) {
    response_.Clear();
    CallSubject subject;
    return answer_predict(*core_, request, {}, response_, subject);
  }
  [[nodiscard]] std::vector<std::string> shape(const Json& tensor) const {
    std::vector<std::string> extents;
    for (const Json& dim : tensor["tensor_shape"]["dim"]) extents.push_back(dim["size"]);
    return extents;
  }

  tfs::PredictResponse response_;
};

TEST_F(ServedSignatures, HaveTheirNamesInRequestsRepliesAndMetadata) {
  write_levels(tensorflow::DT_FLOAT);
  start();
  const Json told = metadata()["serving_default"];
  ASSERT_EQ(told["inputs"].size(), 1U);
  EXPECT_EQ(told["inputs"]["pixels"]["dtype"], "DT_FLOAT");
  EXPECT_EQ(shape(told["inputs"]["pixels"]), (std::vector<std::string>{"-1", "4", "4", "3"}));
  ASSERT_EQ(told["outputs"].size(), 1U);
  EXPECT_EQ(told["outputs"]["probs"]["dtype"], "DT_FLOAT");
  EXPECT_EQ(shape(told["outputs"]["probs"]), (std::vector<std::string>{"-1", "2"}));
  const float red = 1 / (1 + std::exp(-2.0F));  // levels of 127.5
  for (const Json& body :
       {Json{{"instances", {pixels(4, 127.5)}}}, Json{{"instances", {{{"pixels", pixels(4, 127.5)}}}}},
        Json{{"instances", {pixels(4, 127.5)}}, {"signature_name", "serving_default"}}}) {
    const Json reply = ask(body);
    ASSERT_EQ(reply["predictions"].size(), 1U) << reply;
    EXPECT_NEAR(reply["predictions"][0][0], red, 1e-6);
    EXPECT_NEAR(reply["predictions"][0][1], 1 - red, 1e-6);
  }
  const Json column = ask({{"inputs", {{"pixels", {pixels(4, 127.5), pixels(4, 0)}}}}});
  ASSERT_EQ(column["outputs"].size(), 2U) << column;
  EXPECT_NEAR(column["outputs"][0][0], red, 1e-6);
  EXPECT_NEAR(column["outputs"][1][0], 0.5, 1e-6);
  EXPECT_THAT(ask({{"inputs", {{"image", {pixels(4, 0)}}}}}).dump(), HasSubstr("no key"));
}

TEST_F(ServedSignatures, HaveTheirNamesInGrpc) {
  write_levels(tensorflow::DT_FLOAT);
  start();
  tfs::PredictRequest call = request("pixels", tensorflow::DT_FLOAT, 4);
  (*call.mutable_inputs())["pixels"].add_float_val(127.5F);
  call.add_output_filter("probs");
  ASSERT_TRUE(predict(call).ok());
  ASSERT_EQ(response_.outputs().size(), 1U);
  EXPECT_NEAR(response_.outputs().at("probs").float_val(0), 1 / (1 + std::exp(-2.0F)), 1e-6);
  call.set_output_filter(0, "prediction");
  EXPECT_THAT(predict(call).message(), HasSubstr("Outputs expected to be in the set {probs}"));
  call = request("image", tensorflow::DT_FLOAT, 4);
  EXPECT_THAT(predict(call).message(), HasSubstr("Inputs expected to be in the set {pixels}"));
}

/// nacre's own stay where the SavedModel has none of that name. One that nacre would answer otherwise is not
/// answered by another in its place.
TEST_F(ServedSignatures, StandBesideNacres) {
  write_levels(tensorflow::DT_FLOAT);
  start();
  std::vector<std::string> names;
  for (const ServedSignature& signature : found("m")->signatures()) names.push_back(signature.info.name);
  EXPECT_EQ(names, (std::vector<std::string>{"classify", "encoded_image", "labelled_image", "scores",
                                             "serving_default"}));
  EXPECT_THAT(lines(), Contains("model m: " + path("m/1") +
                                ": signature \"float_image\" is not served: its method is "
                                "\"tensorflow/serving/regress\""));
  const Json reply = ask({{"instances", {pixels(4, 1)}}, {"signature_name", "float_image"}});
  EXPECT_EQ(reply["error"], "Serving signature name: \"float_image\" not found in signature def");
}

TEST_F(ServedSignatures, MayTakeLevels) {
  write_levels(tensorflow::DT_UINT8);
  start();
  EXPECT_EQ(metadata()["serving_default"]["inputs"]["pixels"]["dtype"], "DT_UINT8");
  const float red = 1 / (1 + std::exp(-4.0F));
  const Json reply = ask({{"instances", {Json::array_t(4, Json::array_t(4, {255, 0, 0}))}}});
  ASSERT_EQ(reply["predictions"].size(), 1U) << reply;
  EXPECT_NEAR(reply["predictions"][0][0], red, 1e-6);
  for (const Json& value : {Json(256), Json(-1), Json(0.5), Json("NaN")}) {
    const Json refused = ask({{"instances", {Json::array_t(4, Json::array_t(4, Json::array_t(3, value)))}}});
    EXPECT_THAT(refused["error"].dump(), HasSubstr("is not of expected type: uint8")) << value;
  }
  tfs::PredictRequest call = request("pixels", tensorflow::DT_UINT8, 4);
  tensorflow::TensorProto& tensor = (*call.mutable_inputs())["pixels"];
  tensor.set_tensor_content(std::string(48, '\xff'));
  ASSERT_TRUE(predict(call).ok());
  EXPECT_NEAR(response_.outputs().at("probs").float_val(0), red, 1e-6);
  tensor.set_tensor_content(std::string(47, '\xff'));
  EXPECT_THAT(predict(call).message(), HasSubstr("47 bytes, expected 48"));
  tensor.clear_tensor_content();
  tensor.add_int_val(255);
  ASSERT_TRUE(predict(call).ok());
  EXPECT_NEAR(response_.outputs().at("probs").float_val(0), red, 1e-6);
  tensor.set_int_val(0, 256);
  EXPECT_THAT(predict(call).message(), HasSubstr("256 is no level"));
  tensor.set_dtype(tensorflow::DT_FLOAT);
  EXPECT_THAT(predict(call).message(), HasSubstr("expected DT_UINT8, found DT_FLOAT"));
}

class ServedScores : public ServedSignatures, public testing::WithParamInterface<bool> {
 protected:
  ServedScores() {
    if (GetParam()) options_.models.servable.batching.emplace();
  }
};

TEST_P(ServedScores, AreWhatTheNetworkGivesBeforeItsSoftmax) {
  write_levels(tensorflow::DT_FLOAT);
  start();
  const Json shown = metadata()["scores"];
  ASSERT_EQ(shown["outputs"].size(), 1U);
  EXPECT_EQ(shown["outputs"]["scores"]["dtype"], "DT_FLOAT");
  EXPECT_EQ(shape(shown["outputs"]["scores"]), (std::vector<std::string>{"-1", "2"}));
  const Json scores = ask({{"instances", {pixels(4, 127.5), pixels(4, 51)}}, {"signature_name", "scores"}});
  ASSERT_EQ(scores["predictions"].size(), 2U) << scores;
  EXPECT_NEAR(scores["predictions"][0][0], 2, 1e-6);
  EXPECT_EQ(scores["predictions"][0][1], 0);
  EXPECT_NEAR(scores["predictions"][1][0], 0.8, 1e-6);
  tfs::PredictRequest call = request("pixels", tensorflow::DT_FLOAT, 4);
  call.mutable_model_spec()->set_signature_name("scores");
  (*call.mutable_inputs())["pixels"].add_float_val(127.5F);
  ASSERT_TRUE(predict(call).ok());
  EXPECT_NEAR(response_.outputs().at("scores").float_val(0), 2, 1e-6);
  const Json probabilities = ask({{"instances", {pixels(4, 127.5)}}});
  ASSERT_EQ(probabilities["predictions"].size(), 1U) << probabilities;
  EXPECT_NEAR(probabilities["predictions"][0][0], 1 / (1 + std::exp(-2.0F)), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Serve, ServedScores, testing::Bool(),
                         [](const auto& batched) { return batched.param ? "Batched" : "Plain"; });

/// What the server adds itself gives the bits of `nacre predict` whether the model is read with its softmax
/// or without.
TEST_F(ServedSignatures, ThatGiveScoresLeaveTheOthersTheirBits) {
  write_levels(tensorflow::DT_FLOAT);
  auto read = read_version_model("m", path("m/1"), builtin_ops());
  ASSERT_TRUE(read.ok());
  auto model = Model::make(std::make_shared<const Bundle>(std::move(read->bundle)), builtin_ops());
  ASSERT_TRUE(model.ok());
  change([](tensorflow::MetaGraphDef& meta) {
    (*meta.mutable_signature_def())["serving_default"] = meta.signature_def().at("scores");
    for (const char* name : {"scores", "float_image"}) meta.mutable_signature_def()->erase(name);
  });
  start();
  ASSERT_TRUE(found("m")->gives_scores());
  for (int i = 0; i < 8; ++i) {
    const std::vector<std::byte> picture = make_picture(i, 4, 4);
    const EncodedImage image = picture;
    const auto predicted = model->classify({&image, 1});
    const auto served = core_->predictor.run(*found("m"), {&image, 1}, {});
    ASSERT_TRUE(predicted[0].ok() && served.ok());
    EXPECT_EQ(served->values, *predicted[0]);
    const auto scores = core_->predictor.run(*found("m"), {&image, 1}, {}, OutputForm::kScores);
    ASSERT_TRUE(scores.ok());
    EXPECT_EQ(scores->values[1], 0);
    EXPECT_NEAR(1 / (1 + std::exp(-scores->values[0])), served->values[0], 1e-6);
  }
}

TEST_F(ServedSignatures, OfNacresFloatDefaultTakeFloats) {
  std::filesystem::create_directories(path("m"));
  SavedModelOptions writing;
  writing.float_default = true;
  ASSERT_TRUE(write_saved_model(path("m/1"), make_small_bundle(1), builtin_ops(), writing).ok());
  start();
  const Json told = metadata();
  EXPECT_EQ(told["serving_default"]["inputs"], told["float_image"]["inputs"]);
  EXPECT_EQ(shape(told["serving_default"]["inputs"]["image"]),
            (std::vector<std::string>{"-1", "6", "6", "3"}));
  EXPECT_EQ(told["classify"]["method_name"], "tensorflow/serving/classify");
  EXPECT_EQ(told["encoded_image"]["inputs"]["image"]["dtype"], "DT_STRING");
  const Json reply = ask({{"instances", {pixels(6, 0.25)}}});
  ASSERT_EQ(reply["predictions"].size(), 1U) << reply;
  EXPECT_EQ(reply, ask({{"instances", {pixels(6, 0.25)}}, {"signature_name", "float_image"}}));
}

}  // namespace
}  // namespace nacre
