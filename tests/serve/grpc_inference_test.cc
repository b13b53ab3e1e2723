// Classify, Regress, MultiInference, and the calls about models.
#include <algorithm>
#include <functional>

#include "tests/serve/grpc_fixture.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using testing::ElementsAre;
using testing::StartsWith;

class GrpcInference : public GrpcTest {
 protected:
  /// A request for one of Classify's or Regress's with the pictures as examples.
  template <typename Request>
  Request request(const std::vector<std::string>& pictures, const std::string& model = "stripes") const {
    Request request;
    request.mutable_model_spec()->set_name(model);
    for (const std::string& picture : pictures)
      *request.mutable_input()->mutable_example_list()->add_examples() = example_of(picture);
    return request;
  }
  template <typename Request, typename Response>
  grpc::Status call(grpc::Status (tfs::PredictionService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    response.Clear();
    return (predictions_.get()->*method)(&context, request, &response);
  }
  grpc::Status classify(const tfs::ClassificationRequest& r) {
    return call(&tfs::PredictionService::Stub::Classify, r, classified_);
  }
  grpc::Status regress(const tfs::RegressionRequest& r) {
    return call(&tfs::PredictionService::Stub::Regress, r, regressed_);
  }
  grpc::Status infer(const tfs::MultiInferenceRequest& r) {
    return call(&tfs::PredictionService::Stub::MultiInference, r, inferred_);
  }
  grpc::Status metadata(const tfs::GetModelMetadataRequest& r) {
    return call(&tfs::PredictionService::Stub::GetModelMetadata, r, metadata_);
  }
  grpc::Status status(const std::string& name, int64_t version = -1) {
    tfs::GetModelStatusRequest request;
    request.mutable_model_spec()->set_name(name);
    if (version >= 0) request.mutable_model_spec()->mutable_version()->set_value(version);
    grpc::ClientContext context;
    status_.Clear();
    return models_->GetModelStatus(&context, request, &status_);
  }
  grpc::Status reload(const tfs::ReloadConfigRequest& request) {
    grpc::ClientContext context;
    reloaded_.Clear();
    return models_->HandleReloadConfigRequest(&context, request, &reloaded_);
  }
  static tfs::InferenceTask& add_task(tfs::MultiInferenceRequest& request, const std::string& model,
                                      std::string_view method) {
    tfs::InferenceTask& task = *request.add_tasks();
    task.mutable_model_spec()->set_name(model);
    task.set_method_name(std::string(method));
    return task;
  }

  tfs::ClassificationResponse classified_;
  tfs::RegressionResponse regressed_;
  tfs::MultiInferenceResponse inferred_;
  tfs::GetModelMetadataResponse metadata_;
  tfs::GetModelStatusResponse status_;
  tfs::ReloadConfigResponse reloaded_;
};

TEST_F(GrpcInference, ClassifyNamesAllClassesOfEveryExample) {
  ASSERT_EQ(text_of(classify(request<tfs::ClassificationRequest>({jpeg_, png_}))), "OK");
  const std::vector<float> scores = expected({jpeg_, png_});
  ASSERT_EQ(classified_.result().classifications_size(), 2);
  for (int i = 0; i < 2; ++i) {
    const tfs::Classifications& classes = classified_.result().classifications(i);
    ASSERT_EQ(classes.classes_size(), 2);
    EXPECT_EQ(classes.classes(0).label(), "horizontal");
    EXPECT_EQ(classes.classes(1).label(), "vertical");
    EXPECT_EQ(classes.classes(0).score(), scores[static_cast<size_t>(2 * i)]);
    EXPECT_EQ(classes.classes(1).score(), scores[static_cast<size_t>(2 * i + 1)]);
  }
  EXPECT_EQ(classified_.model_spec().signature_name(), "classify");
  EXPECT_EQ(classified_.model_spec().version().value(), 1);
}

TEST_F(GrpcInference, AContextHoldsWhatExamplesHaveInCommon) {
  tfs::ClassificationRequest shared;
  shared.mutable_model_spec()->set_name("stripes");
  auto& list = *shared.mutable_input()->mutable_example_list_with_context();
  *list.mutable_context() = example_of(jpeg_);
  list.add_examples();
  *list.add_examples() = example_of(png_);
  ASSERT_EQ(text_of(classify(shared)), "OK");
  const std::vector<float> scores = expected({jpeg_, png_});
  EXPECT_EQ(classified_.result().classifications(0).classes(0).score(), scores[0]);
  EXPECT_EQ(classified_.result().classifications(1).classes(0).score(), scores[2]);
}

TEST_F(GrpcInference, BadExamplesAreNamed) {
  struct Case {
    std::string error;
    std::function<void(tfs::ClassificationRequest&)> change;
  };
  const auto feature = [](tfs::ClassificationRequest& r) -> tensorflow::Feature& {
    return (*r.mutable_input()
                 ->mutable_example_list()
                 ->mutable_examples(1)
                 ->mutable_features()
                 ->mutable_feature())["image"];
  };
  const std::vector<Case> cases{
      {"INVALID_ARGUMENT: Missing ModelSpec", [](auto& r) { r.clear_model_spec(); }},
      {"NOT_FOUND: Servable not found for request: Latest(no)",
       [](auto& r) { r.mutable_model_spec()->set_name("no"); }},
      {"INVALID_ARGUMENT: Serving signature name: \"no\" not found in signature def",
       [](auto& r) { r.mutable_model_spec()->set_signature_name("no"); }},
      {"INVALID_ARGUMENT: Expected classification signature method_name: tensorflow/serving/classify. Was: "
       "tensorflow/serving/predict",
       [](auto& r) { r.mutable_model_spec()->set_signature_name("serving_default"); }},
      {"INVALID_ARGUMENT: Input is empty.", [](auto& r) { r.clear_input(); }},
      {"INVALID_ARGUMENT: Input is empty.",
       [](auto& r) { r.mutable_input()->mutable_example_list()->clear_examples(); }},
      {"INVALID_ARGUMENT: example 1: Feature: image (data type: string) is required but could not be found.",
       [](auto& r) { r.mutable_input()->mutable_example_list()->mutable_examples(1)->clear_features(); }},
      {"INVALID_ARGUMENT: example 1: Feature: image (data type: string) is required",
       [feature](auto& r) { feature(r).Clear(); }},
      {"INVALID_ARGUMENT: example 1: Feature: image. Data types don't match. Expected type: string",
       [feature](auto& r) { feature(r).mutable_float_list()->add_value(1); }},
      {"INVALID_ARGUMENT: example 1: Key: image. Number of bytes values != expected. Values size: 2",
       [feature](auto& r) { feature(r).mutable_bytes_list()->add_value("x"); }},
      {"INVALID_ARGUMENT: image 1: ",
       [feature](auto& r) { *feature(r).mutable_bytes_list()->mutable_value(0) = "no image"; }},
  };
  for (const Case& c : cases) {
    tfs::ClassificationRequest changed = request<tfs::ClassificationRequest>({jpeg_, png_});
    c.change(changed);
    EXPECT_THAT(text_of(classify(changed)), StartsWith(c.error));
  }
}

TEST_F(GrpcInference, RegressIsForModelsOfOneClass) {
  EXPECT_EQ(text_of(regress(request<tfs::RegressionRequest>({jpeg_}))),
            "INVALID_ARGUMENT: Serving signature name: \"regress\" not found in signature def");
  tfs::RegressionRequest other = request<tfs::RegressionRequest>({jpeg_});
  other.mutable_model_spec()->set_signature_name("classify");
  EXPECT_EQ(text_of(regress(other)),
            "INVALID_ARGUMENT: Expected regression signature method_name: tensorflow/serving/regress. Was: "
            "tensorflow/serving/classify");
  ASSERT_EQ(text_of(regress(request<tfs::RegressionRequest>({jpeg_, png_}, "one"))), "OK");
  ASSERT_EQ(regressed_.result().regressions_size(), 2);
  EXPECT_EQ(regressed_.result().regressions(1).value(), 1.0F);
  EXPECT_EQ(regressed_.model_spec().version().value(), 3);
}

TEST_F(GrpcInference, MultiInferenceAnswersAllTasksInOrder) {
  tfs::MultiInferenceRequest both;
  *both.mutable_input()->mutable_example_list()->add_examples() = example_of(jpeg_);
  add_task(both, "one", kRegressMethod);
  add_task(both, "one", kClassifyMethod);
  ASSERT_EQ(text_of(infer(both)), "OK");
  ASSERT_EQ(inferred_.results_size(), 2);
  EXPECT_EQ(inferred_.results(0).regression_result().regressions(0).value(), 1.0F);
  EXPECT_EQ(inferred_.results(1).classification_result().classifications(0).classes(0).label(), "only");
  EXPECT_EQ(inferred_.results(1).model_spec().signature_name(), "classify");
}

TEST_F(GrpcInference, BadTasksAreNamed) {
  struct Case {
    std::string error;
    std::function<void(tfs::MultiInferenceRequest&)> tasks;
  };
  const std::vector<Case> cases{
      {"INVALID_ARGUMENT: MultiInferenceRequest has no tasks", [](auto&) {}},
      {"INVALID_ARGUMENT: Found ModelSpec with an empty model name.",
       [](auto& r) { add_task(r, "", kClassifyMethod); }},
      {"INVALID_ARGUMENT: All ModelSpecs in a MultiInferenceRequest must access the same model name.",
       [](auto& r) {
         add_task(r, "one", kClassifyMethod);
         add_task(r, "stripes", kClassifyMethod);
       }},
      {"UNIMPLEMENTED: Unsupported signature method_name: tensorflow/serving/predict",
       [](auto& r) { add_task(r, "one", kPredictMethod); }},
      {"INVALID_ARGUMENT: Duplicate evaluation of signature: classify",
       [](auto& r) {
         add_task(r, "one", kClassifyMethod);
         add_task(r, "one", kClassifyMethod);
       }},
      {"NOT_FOUND: Servable not found for request: Specific(one, 9)",
       [](auto& r) {
         add_task(r, "one", kClassifyMethod).mutable_model_spec()->mutable_version()->set_value(9);
       }},
  };
  for (const Case& c : cases) {
    tfs::MultiInferenceRequest request;
    *request.mutable_input()->mutable_example_list()->add_examples() = example_of(jpeg_);
    c.tasks(request);
    EXPECT_THAT(text_of(infer(request)), StartsWith(c.error));
  }
}

TEST_F(GrpcInference, MetadataIsTheSignatures) {
  tfs::GetModelMetadataRequest request;
  request.mutable_model_spec()->set_name("stripes");
  EXPECT_EQ(text_of(metadata(request)),
            "INVALID_ARGUMENT: GetModelMetadataRequest must specify at least one metadata_field");
  request.add_metadata_field("graph");
  EXPECT_EQ(text_of(metadata(request)), "INVALID_ARGUMENT: Metadata field graph is not supported");
  request.set_metadata_field(0, "signature_def");
  ASSERT_EQ(text_of(metadata(request)), "OK");
  EXPECT_EQ(metadata_.model_spec().version().value(), 1);
  EXPECT_EQ(metadata_.metadata().at("signature_def").type_url(),
            "type.googleapis.com/tensorflow.serving.SignatureDefMap");
  tfs::SignatureDefMap map;
  ASSERT_TRUE(metadata_.metadata().at("signature_def").UnpackTo(&map));
  std::vector<std::string> names;
  for (const auto& [name, def] : map.signature_def()) names.push_back(name);
  std::ranges::sort(names);
  EXPECT_THAT(names,
              ElementsAre("classify", "encoded_image", "float_image", "labelled_image", "serving_default"));
  const tensorflow::SignatureDef& def = map.signature_def().at("float_image");
  EXPECT_EQ(def.method_name(), "tensorflow/serving/predict");
  EXPECT_EQ(def.inputs().at("image").dtype(), tensorflow::DT_FLOAT);
  ASSERT_EQ(def.inputs().at("image").tensor_shape().dim_size(), 4);
  EXPECT_EQ(def.inputs().at("image").tensor_shape().dim(0).size(), -1);
  EXPECT_EQ(def.inputs().at("image").tensor_shape().dim(1).size(), 16);
  EXPECT_EQ(def.outputs().at("prediction").tensor_shape().dim(1).size(), 2);
  EXPECT_EQ(map.signature_def().at("serving_default").inputs().at("image").dtype(), tensorflow::DT_STRING);
  request.clear_model_spec();
  EXPECT_EQ(text_of(metadata(request)), "INVALID_ARGUMENT: Missing ModelSpec");
  request.mutable_model_spec()->set_name("no");
  EXPECT_EQ(text_of(metadata(request)), "NOT_FOUND: Servable not found for request: Latest(no)");
}

TEST_F(GrpcInference, StatusListsVersions) {
  ASSERT_EQ(text_of(status("stripes")), "OK");
  ASSERT_EQ(status_.model_version_status_size(), 1);
  EXPECT_EQ(status_.model_version_status(0).version(), 1);
  EXPECT_EQ(status_.model_version_status(0).state(), tfs::ModelVersionStatus::AVAILABLE);
  EXPECT_EQ(status_.model_version_status(0).status().error_code(), tensorflow::error::OK);
  EXPECT_EQ(text_of(status("one", 3)), "OK");
  EXPECT_EQ(text_of(status("no")), "NOT_FOUND: Could not find any versions of model no");
  EXPECT_EQ(text_of(status("one", 7)), "NOT_FOUND: Could not find version 7 of model one");
  grpc::ClientContext context;
  EXPECT_EQ(text_of(models_->GetModelStatus(&context, {}, &status_)), "INVALID_ARGUMENT: Missing ModelSpec");
}

TEST_F(GrpcInference, ReloadServesWhatTheRequestSaysAndNothingElse) {
  tfs::ReloadConfigRequest request;
  EXPECT_THAT(text_of(reload(request)), StartsWith("INVALID_ARGUMENT: ServerModelConfig type not supported"));
  tfs::ModelConfig& config = *request.mutable_config()->mutable_model_config_list()->add_config();
  config.set_name("renamed");
  EXPECT_THAT(text_of(reload(request)), StartsWith("INVALID_ARGUMENT: model \"renamed\": has no base_path"));
  EXPECT_EQ(text_of(status("stripes")), "OK") << "nothing has changed so far";
  config.set_base_path(path("stripes"));
  config.set_model_platform("caffe");
  EXPECT_THAT(text_of(reload(request)),
              StartsWith("INVALID_ARGUMENT: model \"renamed\": expected model_platform"));
  config.set_model_platform("tensorflow");
  config.mutable_model_version_policy()->mutable_specific()->add_versions(1);
  (*config.mutable_version_labels())["beta"] = 2;
  EXPECT_THAT(text_of(reload(request)), StartsWith("FAILED_PRECONDITION: model \"renamed\": label \"beta\""));
  (*config.mutable_version_labels())["beta"] = 1;
  ASSERT_EQ(text_of(reload(request)), "OK");
  EXPECT_EQ(reloaded_.status().error_code(), tensorflow::error::OK);
  EXPECT_EQ(text_of(status("renamed")), "OK");
  EXPECT_EQ(text_of(status("stripes")), "NOT_FOUND: Could not find any versions of model stripes");
}

TEST_F(GrpcInference, CallsOfVersionsThatAreNotThereAreTheModels) {
  tfs::PredictRequest predict;
  tfs::ClassificationRequest classification;
  tfs::MultiInferenceRequest inference;
  for (tfs::ModelSpec* spec : {predict.mutable_model_spec(), classification.mutable_model_spec(),
                               inference.add_tasks()->mutable_model_spec()}) {
    spec->set_name("stripes");
    spec->mutable_version()->set_value(9);
  }
  tfs::PredictResponse predicted;
  EXPECT_THAT(text_of(call(&tfs::PredictionService::Stub::Predict, predict, predicted)),
              StartsWith("NOT_FOUND"));
  EXPECT_THAT(text_of(classify(classification)), StartsWith("NOT_FOUND"));
  EXPECT_THAT(text_of(infer(inference)), StartsWith("NOT_FOUND"));
  const std::string page = core_->metrics.prometheus();
  EXPECT_THAT(page, testing::HasSubstr("request_count{model_name=\"stripes\",status=\"NOT_FOUND\"} 3"));
  EXPECT_THAT(page, testing::Not(testing::HasSubstr("model_name=\"\"")));
}

}  // namespace
}  // namespace nacre
