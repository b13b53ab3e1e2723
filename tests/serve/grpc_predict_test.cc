#include <bit>
#include <functional>

#include "tests/serve/grpc_fixture.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class GrpcPredict : public GrpcTest {
 protected:
  [[nodiscard]] tfs::PredictRequest request(const std::string& signature = "") const {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("stripes");
    request.mutable_model_spec()->set_signature_name(signature);
    (*request.mutable_inputs())["image"] = string_tensor({jpeg_});
    return request;
  }
  static tensorflow::TensorProto& image(tfs::PredictRequest& request) {
    return (*request.mutable_inputs())["image"];
  }
  grpc::Status predict(const tfs::PredictRequest& request) {
    grpc::ClientContext context;
    response_.Clear();
    return predictions_->Predict(&context, request, &response_);
  }
  /// The output's elements, of shape [rows, columns] as the reply says.
  [[nodiscard]] std::vector<float> floats(const std::string& name, int64_t rows, int64_t columns = 2) const {
    const tensorflow::TensorProto& tensor = response_.outputs().at(name);
    EXPECT_EQ(tensor.dtype(), tensorflow::DT_FLOAT);
    EXPECT_EQ(tensor.tensor_shape().dim_size(), 2);
    EXPECT_EQ(tensor.tensor_shape().dim(0).size(), rows);
    EXPECT_EQ(tensor.tensor_shape().dim(1).size(), columns);
    return {tensor.float_val().begin(), tensor.float_val().end()};
  }

  tfs::PredictResponse response_;
};

TEST_F(GrpcPredict, AnswersAsTheRuntimeDoesBitForBit) {
  ASSERT_EQ(text_of(predict(request())), "OK");
  EXPECT_EQ(floats("prediction", 1), expected({jpeg_}));
  EXPECT_EQ(response_.outputs().size(), 1U);
  EXPECT_EQ(response_.model_spec().name(), "stripes");
  EXPECT_EQ(response_.model_spec().version().value(), 1);
  EXPECT_EQ(response_.model_spec().signature_name(), "serving_default");
  tfs::PredictRequest both = request("encoded_image");
  image(both) = string_tensor({png_, jpeg_, png_});
  ASSERT_EQ(text_of(predict(both)), "OK");
  EXPECT_EQ(floats("prediction", 3), expected({png_, jpeg_, png_}));
}

TEST_F(GrpcPredict, VersionsAndLabelsChoose) {
  tfs::PredictRequest versioned = request();
  versioned.mutable_model_spec()->mutable_version()->set_value(1);
  EXPECT_EQ(text_of(predict(versioned)), "OK");
  versioned.mutable_model_spec()->set_version_label("stable");
  EXPECT_EQ(text_of(predict(versioned)), "OK");
}

TEST_F(GrpcPredict, TakesStringsInTensorContent) {
  tfs::PredictRequest packed = request();
  tensorflow::TensorProto& tensor = image(packed);
  tensor = string_tensor({});
  tensor.mutable_tensor_shape()->mutable_dim(0)->set_size(2);
  std::string content;
  for (const std::string& text : {jpeg_, png_}) {
    size_t size = text.size();
    for (; size >= 128; size >>= 7) content += static_cast<char>((size & 127) | 128);
    content += static_cast<char>(size);
  }
  tensor.set_tensor_content(content + jpeg_ + png_);
  ASSERT_EQ(text_of(predict(packed)), "OK");
  EXPECT_EQ(floats("prediction", 2), expected({jpeg_, png_}));
  for (const std::string& broken : {content, content + jpeg_, content + jpeg_ + png_ + "x",
                                    std::string("\xff"), std::string(12, '\xff')}) {
    tensor.set_tensor_content(broken);
    EXPECT_THAT(text_of(predict(packed)), HasSubstr("does not hold 2 strings"));
  }
}

TEST_F(GrpcPredict, TakesFloatsInAllTheirForms) {
  std::vector<float> pixels(2 * 16 * 16);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i % 17) / 17;
  std::vector<float> answer(4);
  ASSERT_TRUE(stripes_->classify_inputs(pixels, answer).ok());
  tfs::PredictRequest content = request("float_image");
  image(content) = float_tensor({2, 16, 16, 1});
  image(content).set_tensor_content(
      std::string(reinterpret_cast<const char*>(pixels.data()), pixels.size() * 4));
  ASSERT_EQ(text_of(predict(content)), "OK");
  EXPECT_EQ(floats("prediction", 2), answer);
  tfs::PredictRequest values = request("float_image");
  image(values) = float_tensor({2, 16, 16, 1});
  image(values).mutable_float_val()->Add(pixels.begin(), pixels.end());
  ASSERT_EQ(text_of(predict(values)), "OK");
  EXPECT_EQ(floats("prediction", 2), answer);
  // The last value goes on.
  std::fill(pixels.begin() + 5, pixels.end(), 0.5F);
  ASSERT_TRUE(stripes_->classify_inputs(pixels, answer).ok());
  image(values).clear_float_val();
  image(values).mutable_float_val()->Add(pixels.begin(), pixels.begin() + 6);
  ASSERT_EQ(text_of(predict(values)), "OK");
  EXPECT_EQ(floats("prediction", 2), answer);
}

TEST_F(GrpcPredict, NamesTheClasses) {
  tfs::PredictRequest labelled = request("labelled_image");
  ASSERT_EQ(text_of(predict(labelled)), "OK");
  const std::vector<float> scores = expected({jpeg_});
  EXPECT_THAT(response_.outputs().at("classes").string_val(), ElementsAre("vertical", "horizontal"));
  EXPECT_THAT(floats("scores", 1), ElementsAre(scores[1], scores[0]));
  labelled.add_output_filter("classes");
  ASSERT_EQ(text_of(predict(labelled)), "OK");
  EXPECT_EQ(response_.outputs().size(), 1U);
  EXPECT_EQ(response_.outputs().at("classes").dtype(), tensorflow::DT_STRING);
}

TEST_F(GrpcPredict, RunsTheSignatureOfClassifyOnSerializedExamples) {
  tfs::PredictRequest classify = request("classify");
  classify.clear_inputs();
  (*classify.mutable_inputs())["inputs"] = string_tensor({example_of(jpeg_).SerializeAsString()});
  ASSERT_EQ(text_of(predict(classify)), "OK");
  EXPECT_THAT(response_.outputs().at("classes").string_val(), ElementsAre("horizontal", "vertical"));
  EXPECT_EQ(floats("scores", 1), expected({jpeg_}));
  (*classify.mutable_inputs())["inputs"] = string_tensor({"\xff\xff"});
  EXPECT_THAT(text_of(predict(classify)), HasSubstr("example 0: Could not parse example input"));
}

TEST_F(GrpcPredict, NoRowsHaveNoAnswers) {
  tfs::PredictRequest empty = request();
  image(empty) = string_tensor({});
  ASSERT_EQ(text_of(predict(empty)), "OK");
  EXPECT_THAT(floats("prediction", 0), ElementsAre());
}

TEST_F(GrpcPredict, ErrorsAreTensorflowServings) {
  struct Case {
    std::string error;  ///< code and message
    std::function<void(tfs::PredictRequest&)> change;
  };
  const auto dims = [](std::vector<int64_t> shape, const std::string& signature = "float_image") {
    return [shape = std::move(shape), signature](tfs::PredictRequest& r) {
      r.mutable_model_spec()->set_signature_name(signature);
      tensorflow::TensorProto tensor = float_tensor(shape);
      tensor.set_tensor_content(std::string(1024, '\0'));
      image(r) = tensor;
    };
  };
  const auto strings = [](std::vector<std::string> list) {
    return [list = std::move(list)](tfs::PredictRequest& r) { image(r) = string_tensor(list); };
  };
  const std::vector<Case> cases{
      {"INVALID_ARGUMENT: Missing ModelSpec", [](auto& r) { r.clear_model_spec(); }},
      {"NOT_FOUND: Servable not found for request: Latest(no)",
       [](auto& r) { r.mutable_model_spec()->set_name("no"); }},
      {"INVALID_ARGUMENT: ModelSpec has no name specified.",
       [](auto& r) { r.mutable_model_spec()->clear_name(); }},
      {"NOT_FOUND: Servable not found for request: Specific(stripes, 7)",
       [](auto& r) { r.mutable_model_spec()->mutable_version()->set_value(7); }},
      {"INVALID_ARGUMENT: Unrecognized servable version label: beta",
       [](auto& r) { r.mutable_model_spec()->set_version_label("beta"); }},
      {"FAILED_PRECONDITION: Serving signature key \"no\" not found.",
       [](auto& r) { r.mutable_model_spec()->set_signature_name("no"); }},
      {"INVALID_ARGUMENT: input size does not match signature: 0!=1 len({}) != len({image}). Sent extra: {}. "
       "Missing but "
       "required: {image}.",
       [](auto& r) { r.clear_inputs(); }},
      {"INVALID_ARGUMENT: input size does not match signature: 2!=1 len({image,more}) != len({image}). Sent "
       "extra: "
       "{more}. Missing but required: {}.",
       [](auto& r) { (*r.mutable_inputs())["more"]; }},
      {"INVALID_ARGUMENT: input tensor alias not found in signature: images. Inputs expected to be in the "
       "set {image}.",
       [](auto& r) {
         r.clear_inputs();
         (*r.mutable_inputs())["images"];
       }},
      {"INVALID_ARGUMENT: output tensor alias not found in signature: scores Outputs expected to be in the "
       "set "
       "{prediction}.",
       [](auto& r) { r.add_output_filter("scores"); }},
      {"INVALID_ARGUMENT: duplicate output tensor alias: prediction",
       [](auto& r) {
         r.add_output_filter("prediction");
         r.add_output_filter("prediction");
       }},
      {"INVALID_ARGUMENT: input \"image\": expected DT_STRING, found DT_FLOAT", dims({1, 16, 16, 1}, "")},
      {"INVALID_ARGUMENT: input \"image\": expected DT_STRING, found DT_INVALID",
       [](auto& r) { image(r).Clear(); }},
      {"INVALID_ARGUMENT: input \"image\": expected DT_STRING, found 77",
       [](auto& r) { image(r).set_dtype(static_cast<tensorflow::DataType>(77)); }},
      {"INVALID_ARGUMENT: input \"image\": expected DT_FLOAT, found DT_STRING",
       [](auto& r) { r.mutable_model_spec()->set_signature_name("float_image"); }},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N], found []",
       [](auto& r) { image(r).mutable_tensor_shape()->clear_dim(); }},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N], found <unknown>",
       [](auto& r) { image(r).mutable_tensor_shape()->set_unknown_rank(true); }},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N], found [-1]",
       [](auto& r) { image(r).mutable_tensor_shape()->mutable_dim(0)->set_size(-1); }},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N], found [1, 1, 1, 1, 1, 1, 1, 1, ...]",
       [](auto& r) {
         for (int i = 0; i < 300; ++i) image(r).mutable_tensor_shape()->add_dim()->set_size(1);
       }},
      {"INVALID_ARGUMENT: input \"image\": 1099511627776 rows in one request, the limit is 4096",
       [](auto& r) { image(r).mutable_tensor_shape()->mutable_dim(0)->set_size(int64_t{1} << 40); }},
      {"INVALID_ARGUMENT: input \"image\": shape [2] does not fit 1 strings in string_val",
       [](auto& r) { image(r).mutable_tensor_shape()->mutable_dim(0)->set_size(2); }},
      {"INVALID_ARGUMENT: input \"image\": 4097 rows", strings(std::vector<std::string>(4097))},
      {"INVALID_ARGUMENT: image 0: ", strings({""})},
      {"INVALID_ARGUMENT: image 1: ", strings({jpeg_, jpeg_.substr(0, 100)})},
      {"INVALID_ARGUMENT: image 1: ", strings({jpeg_, "GIF89a"})},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N, 16, 16, 1], found [1, 16, 16]",
       dims({1, 16, 16})},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N, 16, 16, 1], found [1, 16, 16, 3]",
       dims({1, 16, 16, 3})},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N, 16, 16, 1], found [-1, 16, 16, 1]",
       dims({-1, 16, 16, 1})},
      {"INVALID_ARGUMENT: input \"image\": expected shape [N, 16, 16, 1], found [4194305, 4194305, "
       "211106198978564]",
       dims({4194305, 4194305, 211106198978564})},
      {"INVALID_ARGUMENT: input \"image\": 9223372036854775807 rows in one request, the limit is 4096",
       dims({INT64_MAX, 16, 16, 1})},
      {"INVALID_ARGUMENT: input \"image\": tensor_content has 1024 bytes, expected 2048 for shape [2, 16, "
       "16, 1]",
       dims({2, 16, 16, 1})},
      {"INVALID_ARGUMENT: input \"image\": tensor_content has 1024 bytes, expected 0 for shape [0, 16, 16, "
       "1]",
       dims({0, 16, 16, 1})},
      {"INVALID_ARGUMENT: input \"image\": float_val has 257 values, expected 256 for shape [1, 16, 16, 1]",
       [](auto& r) {
         r.mutable_model_spec()->set_signature_name("float_image");
         image(r) = float_tensor({1, 16, 16, 1});
         image(r).mutable_float_val()->Resize(257, 0);
       }},
      {"INVALID_ARGUMENT: input \"image\": float_val has 0 values, expected 1048576 for shape [4096, 16, 16, "
       "1]",
       [](auto& r) {
         r.mutable_model_spec()->set_signature_name("float_image");
         image(r) = float_tensor({4096, 16, 16, 1});
       }},
  };
  for (const Case& c : cases) {
    tfs::PredictRequest changed = request();
    c.change(changed);
    EXPECT_THAT(text_of(predict(changed)), StartsWith(c.error));
    EXPECT_EQ(response_.outputs().size(), 0U);
  }
  EXPECT_EQ(text_of(predict(request())), "OK");
}

TEST_F(GrpcPredict, AnErrorIsNoLongerThanAClientTakes) {
  tfs::PredictRequest long_name = request();
  long_name.mutable_model_spec()->set_name(std::string(1 << 20, 'x'));
  EXPECT_THAT(text_of(predict(long_name)),
              StartsWith("NOT_FOUND: Servable not found for request: Latest(xxx"));
}

}  // namespace
}  // namespace nacre
