// What TensorFlow Serving's REST clients know, through a real socket: status, body and the text of errors.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

struct Case {
  std::string name;
  std::string request;  ///< "METHOD TARGET"
  std::string body;     ///< $A, $B: base64 of pictures; $F: a 6x6x3 list of numbers; $X: base64 of no picture
  int status = 200;
  std::vector<std::string> parts;  ///< of the reply's body
};

std::string numbers(int rows, int columns, int channels) {
  Json list = Json::array();
  for (int y = 0; y < rows; ++y) {
    Json row = Json::array();
    for (int x = 0; x < columns; ++x) row.push_back(Json::array_t(static_cast<size_t>(channels), 0.25));
    list.push_back(row);
  }
  return list.dump();
}

std::string filled(std::string text) {
  const auto put = [&](std::string_view mark, const std::string& value) {
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + value.size())) {
      text.replace(at, mark.size(), value);
    }
  };
  put("$A", base64(make_picture(1)));
  put("$B", base64(make_picture(2, 20, 11)));
  put("$F", numbers(6, 6, 3));
  put("$X", base64(std::as_bytes(std::span(std::string_view("no picture at all")))));
  return text;
}

constexpr const char* kPredict = "POST /v1/models/m:predict";
constexpr const char* kClassify = "POST /v1/models/m:classify";
constexpr const char* kCloud = "POST /v1/projects/p/models/m:predict";
constexpr const char* kOneImage = R"({"instances":[{"b64":"$A"}]})";

const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      // Predict.
      {"PredictRow", kPredict, kOneImage, 200, {R"("predictions": [[0)"}},
      {"PredictRows", kPredict, R"({"instances":[{"b64":"$A"},{"b64":"$B"}]})", 200, {"], ["}},
      {"PredictNamedRow", kPredict, R"({"instances":[{"image":{"b64":"$A"}}]})", 200, {R"("predictions": [[0)"}},
      {"PredictSignature", kPredict, R"({"signature_name":"serving_default","instances":[{"b64":"$A"}]})", 200,
       {R"("predictions": [[0)"}},
      {"PredictEncodedSignature", kPredict, R"({"signature_name":"encoded_image","instances":[{"b64":"$A"}]})", 200,
       {R"("predictions": [[0)"}},
      {"PredictFloatRow", kPredict, R"({"signature_name":"float_image","instances":[$F]})", 200,
       {R"("predictions": [[0)"}},
      {"PredictFloatNamedRow", kPredict, R"({"signature_name":"float_image","instances":[{"image":$F},{"image":$F}]})",
       200, {R"("predictions": [[0)"}},
      {"PredictLabelled", kPredict, R"({"signature_name":"labelled_image","instances":[{"b64":"$A"}]})", 200,
       {R"("predictions": [{"classes": [")", R"("scores": [0)"}},
      {"PredictColumn", kPredict, R"({"inputs":[{"b64":"$A"},{"b64":"$B"}]})", 200, {R"("outputs": [[0)"}},
      {"PredictNamedColumn", kPredict, R"({"inputs":{"image":[{"b64":"$A"}]}})", 200, {R"("outputs": [[0)"}},
      {"PredictScalarColumn", kPredict, R"({"inputs":{"b64":"$A"}})", 200, {R"("outputs": [0)"}},
      {"PredictFloatColumn", kPredict, R"({"signature_name":"float_image","inputs":{"image":[$F]}})", 200,
       {R"("outputs": [[0)"}},
      {"PredictLabelledColumn", kPredict, R"({"signature_name":"labelled_image","inputs":[{"b64":"$A"}]})", 200,
       {R"("outputs": {"classes": [[")", R"("scores": [[0)"}},
      {"PredictVersion", "POST /v1/models/m/versions/1:predict", kOneImage, 200, {"predictions"}},
      {"PredictPaddedVersion", "POST /v1/models/m/versions/0001:predict", kOneImage, 200, {"predictions"}},
      {"PredictLabel", "POST /v1/models/m/labels/stable:predict", kOneImage, 200, {"predictions"}},
      {"PredictEscapedName", "POST /v1/models/%6d:predict", kOneImage, 200, {"predictions"}},
      {"PredictUpperV1", "POST /V1/models/m:predict", kOneImage, 200, {"predictions"}},
      {"PredictQuery", "POST /v1/models/m:predict?trace=1", kOneImage, 200, {"predictions"}},
      {"PredictOtherKeys", kPredict, R"({"instances":[{"b64":"$A"}],"more":1})", 200, {"predictions"}},
      // What is wrong with a request.
      {"Empty", kPredict, "", 400, {"JSON Parse error: The document is empty"}},
      {"Blank", kPredict, " \n", 400, {"JSON Parse error: The document is empty"}},
      {"NoJson", kPredict, "hello", 400, {"JSON Parse error: Invalid value"}},
      {"CutJson", kPredict, R"({"instances":[)", 400, {"JSON Parse error: Invalid value"}},
      {"TwoDocuments", kPredict, R"({"instances":[1]}{})", 400, {"JSON Parse error: Invalid value"}},
      {"NoUtf8", kPredict, "{\"instances\":[\"\xff\"]}", 400, {"JSON Parse error: Invalid value"}},
      {"NoObject", kPredict, "[1,2]", 400, {"must be an object", "Type: Array"}},
      {"NoKey", kPredict, R"({"signature_name":"serving_default"})", 400,
       {"Missing 'inputs' or 'instances' key"}},
      {"BothKeys", kPredict, R"({"instances":[],"inputs":[]})", 400, {"both 'instances' and 'inputs'"}},
      {"SignatureNumber", kPredict, R"({"signature_name":1,"instances":[1]})", 400,
       {"'signature_name' key must be a string value."}},
      {"UnknownSignature", kPredict, R"({"signature_name":"x","instances":[1]})", 400,
       {R"(Serving signature name: \"x\" not found in signature def)"}},
      {"ClassifySignature", kPredict, R"({"signature_name":"classify","instances":[1]})", 400,
       {"Expected predict signature method_name: tensorflow/serving/predict. Was: tensorflow/serving/classify"}},
      {"InstancesNoList", kPredict, R"({"instances":{"b64":"$A"}})", 400,
       {"Not formatted correctly. Expecting 'instances' to be a list"}},
      {"NoInstances", kPredict, R"({"instances":[]})", 400, {"'instances' is an empty list"}},
      {"NoInputs", kPredict, R"({"inputs":[]})", 400, {"'inputs' is an empty list"}},
      {"ImageNumber", kPredict, R"({"instances":[5]})", 400,
       {"Failed to process element: 0 of 'instances' list. Error: JSON Value: 5 Type: Number is not of expected "
        "type: string"}},
      {"ImageNull", kPredict, R"({"instances":[null]})", 400, {"JSON Value: null Type: Null"}},
      {"ImageList", kPredict, R"({"instances":[[{"b64":"$A"}]]})", 400, {"Type: Array is not of expected type: string"}},
      {"WrongInput", kPredict, R"({"instances":[{"picture":{"b64":"$A"}}]})", 400,
       {R"(Missing input: an object has no key \"image\")"}},
      {"ExtraInput", kPredict, R"({"instances":[{"image":{"b64":"$A"},"key":1}]})", 400,
       {R"(Unexpected input: the only key may be \"image\")"}},
      {"ObjectThenList", kPredict, R"({"instances":[{"image":{"b64":"$A"}},[1]]})", 400,
       {"Failed to process element: 1 of 'instances' list", "Expecting object but got list"}},
      {"ValueThenObject", kPredict, R"({"instances":[{"b64":"$A"},{"image":{"b64":"$A"}}]})", 400,
       {"Expecting value/list but got object"}},
      {"Base64Number", kPredict, R"({"instances":[{"b64":5}]})", 400, {"Not formatted correctly for base64 data"}},
      {"BadBase64", kPredict, R"({"instances":[{"b64":"$$$$"}]})", 400, {"Unable to base64 decode"}},
      {"NoPicture", kPredict, R"({"instances":[{"b64":"$A"},{"b64":"$X"}]})", 400,
       {"Failed to process element: 1 of 'instances' list. Error: "}},
      {"EmptyPicture", kPredict, R"({"instances":[{"b64":""}]})", 400, {"Failed to process element: 0"}},
      {"TextPicture", kPredict, R"({"instances":["just text"]})", 400, {"Failed to process element: 0"}},
      {"FloatString", kPredict, R"({"signature_name":"float_image","instances":[[[["x",0,0]]]]})", 400,
       {R"(JSON Value: \"x\" Type: String is not of expected type: float)"}},
      {"FloatTooLarge", kPredict, R"({"signature_name":"float_image","instances":[[[[1e39]]]]})", 400,
       {"is not of expected type: float"}},
      {"FloatShallow", kPredict, R"({"signature_name":"float_image","instances":[[1]]})", 400,
       {"Not formatted correctly. Expecting a list of 6 values"}},
      {"FloatDeep", kPredict, R"({"signature_name":"float_image","instances":[[[[[1]]]]]})", 400,
       {"Type: Array is not of expected type: float"}},
      {"FloatShort", kPredict, R"({"signature_name":"float_image","instances":[[[[1,2]]]]})", 400,
       {"Expecting tensor size: 3 but got: 2"}},
      {"FloatLong", kPredict, R"({"signature_name":"float_image","instances":[[[[1,2,3,4]]]]})", 400,
       {"Expecting tensor size: 3 but got: more"}},
      {"UnknownModel", "POST /v1/models/x:predict", kOneImage, 404,
       {R"j("error": "Servable not found for request: Latest(x)")j"}},
      {"UnknownVersion", "POST /v1/models/m/versions/7:predict", kOneImage, 404,
       {"Servable not found for request: Specific(m, 7)"}},
      {"UnknownLabel", "POST /v1/models/m/labels/x:predict", kOneImage, 400,
       {"Unrecognized servable version label: x"}},
      {"HugeVersion", "POST /v1/models/m/versions/18446744073709551616:predict", kOneImage, 400,
       {"Failed to convert version: 18446744073709551616 to numeric"}},
      {"NoVersion", "POST /v1/models/m/versions/:predict", kOneImage, 400, {"Malformed request: POST /v1/models/m"}},
      {"NameForVersion", "POST /v1/models/m/versions/v1:predict", kOneImage, 400, {"Malformed request"}},
      {"NoVerb", "POST /v1/models/m", kOneImage, 400, {"Malformed request: POST /v1/models/m"}},
      {"UnknownVerb", "POST /v1/models/m:train", kOneImage, 400, {"Malformed request: POST /v1/models/m:train"}},
      {"GetOfPredict", "GET /v1/models/m:predict", "", 400, {"Malformed request: GET /v1/models/m:predict"}},
      {"BadEscape", "POST /v1/models/%zz:predict", kOneImage, 400, {"Malformed request"}},
      {"OtherPath", "POST /index.html", "{}", 404, {"Not found: POST /index.html"}},
      {"OtherMethod", "DELETE /v1/models/m", "", 501, {"Method DELETE is not supported"}},
      // Classify and regress.
      {"Classify", kClassify, R"({"examples":[{"image":{"b64":"$A"}}]})", 200, {R"("results": [[["a", 0)", R"(["b", 0)"}},
      {"ClassifyTwo", kClassify, R"({"examples":[{"image":[{"b64":"$A"}]},{"image":{"b64":"$B"}}]})", 200,
       {R"("results": [[["a", 0)"}},
      {"ClassifySignatureName", kClassify, R"({"signature_name":"classify","examples":[{"image":{"b64":"$A"}}]})", 200,
       {R"(["c", 0)"}},
      {"ClassifyContext", kClassify, R"({"context":{"image":{"b64":"$A"}},"examples":[{},{"id":7}]})", 200,
       {R"("results": [[["a", 0)"}},
      {"ClassifyLabel", "POST /v1/models/m/labels/stable:classify", R"({"examples":[{"image":{"b64":"$A"}}]})", 200,
       {R"("results")"}},
      {"ClassifyPredictSignature", kClassify,
       R"({"signature_name":"serving_default","examples":[{"image":{"b64":"$A"}}]})", 400,
       {"Expected classification signature method_name: tensorflow/serving/classify. Was: "
        "tensorflow/serving/predict"}},
      {"ClassifyNoExamples", kClassify, R"({"instances":[]})", 400, {"key 'examples' is expected"}},
      {"ClassifyExamplesNoList", kClassify, R"({"examples":{}})", 400, {"'examples' value is not a list"}},
      {"ClassifyEmpty", kClassify, R"({"examples":[]})", 400, {"'examples' is an empty list"}},
      {"ClassifyNoObject", kClassify, R"({"examples":[[1]]})", 400, {"Expecting object but got list"}},
      {"ClassifyNoImage", kClassify, R"({"examples":[{"id":1}]})", 400,
       {"Feature: image (data type: string) is required but could not be found."}},
      {"ClassifyTwoImages", kClassify, R"({"examples":[{"image":[{"b64":"$A"},{"b64":"$A"}]}]})", 400,
       {"Expecting one string"}},
      {"ClassifyMixed", kClassify, R"({"examples":[{"image":{"b64":"$A"},"f":[1,"x"]}]})", 400, {"of several kinds"}},
      {"ClassifyNull", kClassify, R"({"examples":[{"image":null}]})", 400, {"Not formatted correctly for a feature"}},
      {"ClassifyBadPicture", kClassify, R"({"examples":[{"image":{"b64":"$X"}}]})", 400, {"image 0: "}},
      {"Regress", "POST /v1/models/one:regress", R"({"examples":[{"image":{"b64":"$A"}}]})", 200,
       {R"("results": [1.0])"}},
      {"RegressOfMany", "POST /v1/models/m:regress", R"({"examples":[{"image":{"b64":"$A"}}]})", 400,
       {R"(Serving signature name: \"regress\" not found in signature def)"}},
      // CloudML.
      {"Cloud", kCloud, R"({"instances":[{"image":{"b64":"$A"}}]})", 200, {R"("predictions": [{"prediction": [0)"}},
      {"CloudPlain", kCloud, R"({"instances":[{"b64":"$A"},{"b64":"$B"}]})", 200, {R"({"prediction": [0)"}},
      {"CloudVersion", "POST /v1/projects/p/models/m/versions/1:predict", kOneImage, 200, {R"({"prediction": [0)"}},
      {"CloudVersionName", "POST /v1/projects/p/models/m/versions/stable:predict", kOneImage, 200,
       {R"({"prediction": [0)"}},
      {"CloudOneBad", kCloud, R"({"instances":[{"b64":"$A"},{"b64":"$X"}]})", 400,
       {R"("error": "Failed to process element: 1 of)"}},
      {"CloudInputs", kCloud, R"({"inputs":[{"b64":"$A"}]})", 400, {"Missing 'instances' key"}},
      {"CloudClassify", "POST /v1/projects/p/models/m:classify", kOneImage, 400, {"Malformed request"}},
      // Status, metadata, health.
      {"Status", "GET /v1/models/m", "", 200,
       {R"("model_version_status")", R"("version": "1")", R"("state": "AVAILABLE")", R"("error_code": "OK")",
        R"("error_message": "")"}},
      {"StatusVersion", "GET /v1/models/m/versions/1", "", 200, {R"("state": "AVAILABLE")"}},
      {"StatusLabel", "GET /v1/models/m/labels/stable", "", 200, {R"("state": "AVAILABLE")"}},
      {"StatusUnknownModel", "GET /v1/models/x", "", 404, {"Could not find any versions of model x"}},
      {"StatusUnknownVersion", "GET /v1/models/m/versions/7", "", 404, {"Could not find version 7 of model m"}},
      {"StatusNoName", "GET /v1/models", "", 400, {"Missing model name in request."}},
      {"Metadata", "GET /v1/models/m/metadata", "", 200,
       {R"("model_spec")", R"("name": "m")", R"("version": "1")", R"("serving_default")", R"("DT_STRING")",
        R"("method_name": "tensorflow/serving/predict")"}},
      {"MetadataVersion", "GET /v1/models/m/versions/1/metadata", "", 200, {R"("float_image")", R"("size": "6")"}},
      {"MetadataUnknown", "GET /v1/models/x/metadata", "", 404, {"Servable not found for request: Latest(x)"}},
      {"StatusPath", "GET /v1/models/m/more", "", 400, {"Malformed request: GET /v1/models/m/more"}},
      {"Metrics", "GET /monitoring/prometheus/metrics", "", 200,
       {"# TYPE :tensorflow:serving:request_count counter\n", "# TYPE :nacre:serving:queue_depth gauge\n"}},
      {"Live", "GET /v2/health/live", "", 200, {}},
      {"Ready", "GET /v2/health/ready", "", 200, {}},
      {"Options", "OPTIONS /v1/models/m:predict", "", 200, {}},
  };
  return table;
}

class RestConformance : public ServeTest {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    write_version("m/1", make_small_bundle(1));
    write_version("one/1", make_small_bundle(2, 1));
    serve({{"m", path("m"), {}, {{"stable", 1}}}, {"one", path("one"), {}, {}}});
    serve_rest();
  }
};

TEST_F(RestConformance, Table) {
  Wire wire(rest_->port());  // one connection for all: an error does not end it
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    const size_t space = one.request.find(' ');
    const WireReply reply =
        wire.ask(one.request.substr(0, space), one.request.substr(space + 1), filled(one.body));
    EXPECT_EQ(reply.status, one.status) << reply.body;
    for (const std::string& part : one.parts) EXPECT_THAT(reply.body, HasSubstr(part));
    if (one.status != 200) {
      const Json json = Json::parse(reply.body, nullptr, false);
      ASSERT_TRUE(json.is_object()) << reply.body;
      EXPECT_TRUE(json.at("error").is_string());
      EXPECT_EQ(json.size(), 1U);
    }
    if (one.request.find("/v1/") != std::string::npos && one.request.find("OPTIONS") == std::string::npos) {
      EXPECT_THAT(reply.head, HasSubstr("Content-Type: application/json\r\n"));
      EXPECT_FALSE(Json::parse(reply.body, nullptr, false).is_discarded()) << reply.body;
    }
  }
}

TEST_F(RestConformance, PredictionsAreTheRuntimesBitForBit) {
  const std::vector<std::byte> picture = make_picture(1);
  const EncodedImage image(picture);
  const std::vector<float> expected = *found("m")->model().classify({&image, 1}).front();
  Wire wire(rest_->port());
  const Json reply = Json::parse(wire.ask("POST", "/v1/models/m:predict", filled(kOneImage)).body);
  EXPECT_EQ(reply.at("predictions").at(0).get<std::vector<float>>(), expected);
  const Json classes = Json::parse(
      wire.ask("POST", "/v1/models/m:classify", filled(R"({"examples":[{"image":{"b64":"$A"}}]})")).body);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(classes.at("results").at(0).at(i).at(0).get<std::string>(),
              std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(classes.at("results").at(0).at(i).at(1).get<float>(), expected[i]);
  }
  const Json ranked =
      Json::parse(wire.ask("POST", "/v1/models/m:predict",
                           filled(R"({"signature_name":"labelled_image","instances":[{"b64":"$A"}]})"))
                      .body);
  const auto scores = ranked.at("predictions").at(0).at("scores").get<std::vector<float>>();
  EXPECT_TRUE(std::ranges::is_sorted(scores, std::greater<>()));
  EXPECT_EQ(scores.front(), *std::ranges::max_element(expected));
}

TEST_F(RestConformance, NumbersThatJsonHasNoFormFor) {
  Wire wire(rest_->port());
  std::string image = numbers(6, 6, 3);
  image.replace(image.find("0.25"), 4, "NaN");
  const WireReply reply = wire.ask("POST", "/v1/models/m:predict",
                                   R"({"signature_name":"float_image","instances":[)" + image + "]}");
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_THAT(reply.body, HasSubstr("NaN"));
  image.replace(image.find("NaN"), 3, "-Infinity");
  EXPECT_EQ(wire.ask("POST", "/v1/models/m:predict",
                     R"({"signature_name":"float_image","instances":[)" + image + "]}")
                .status,
            200);
  EXPECT_EQ(wire.ask("POST", "/v1/models/m:predict", R"({"instances":["NaN"]})").status, 400) << "a text";
}

TEST_F(RestConformance, HeadHasNoBody) {
  Wire wire(rest_->port());
  EXPECT_EQ(wire.ask("HEAD", "/v1/models/m").status, 200);
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200) << "the next reply follows at once";
}

TEST_F(RestConformance, CompressedBodiesAreRefused) {
  Wire wire(rest_->port());
  const WireReply reply = wire.ask("POST", "/v1/models/m:predict", "xx", "Content-Encoding: gzip\r\n");
  EXPECT_EQ(reply.status, 501);
  EXPECT_THAT(reply.body, HasSubstr("Content-Encoding gzip is not supported"));
}

TEST_F(RestConformance, CorsIsAnOption) {
  const std::string origin = "Origin: http://page.example\r\n";
  Wire without(rest_->port());
  EXPECT_THAT(without.ask("GET", "/v1/models/m", "", origin).head,
              ::testing::Not(HasSubstr("Access-Control")));
  rest_options_.cors = true;
  serve_rest();
  Wire with(rest_->port());
  EXPECT_THAT(with.ask("GET", "/v1/models/m", "", origin).head,
              HasSubstr("Access-Control-Allow-Origin: *\r\n"));
  const WireReply preflight = with.ask("OPTIONS", "/v1/models/m:predict", "", origin);
  EXPECT_EQ(preflight.status, 200);
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Methods: POST, GET\r\n"));
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Headers: Content-Type\r\n"));
}

TEST_F(RestConformance, MetricsCountCalls) {
  Wire wire(rest_->port());
  wire.ask("POST", "/v1/models/m:predict", filled(kOneImage));
  wire.ask("POST", "/v1/models/m:predict", filled(R"({"instances":[{"b64":"$A"},{"b64":"$B"}]})"));
  wire.ask("POST", "/v1/models/m:predict", "");
  wire.ask("POST", "/v1/models/made-up:predict", filled(kOneImage));
  const std::string page = wire.ask("GET", "/monitoring/prometheus/metrics").body;
  for (const char* const line :
       {":tensorflow:serving:request_count{model_name=\"m\",status=\"OK\"} 2\n",
        ":tensorflow:serving:request_count{model_name=\"m\",status=\"INVALID_ARGUMENT\"} 1\n",
        ":tensorflow:serving:request_count{model_name=\"\",status=\"NOT_FOUND\"} 1\n",
        ":tensorflow:serving:request_latency_count{model_name=\"m\",API=\"predict\",entrypoint=\"REST\"} 2\n",
        ":tensorflow:serving:runtime_latency_count{model_name=\"m\",API=\"Predict\",runtime=\"nacre\"} 2\n",
        ":tensorflow:serving:request_example_count_total{model=\"m\"} 3\n",
        ":nacre:serving:signature_request_count{model_name=\"m\",signature=\"serving_default\",status=\"OK\"}"
        " 2\n",
        ":nacre:serving:batch_size_sum{} 3\n", ":nacre:serving:queue_depth 0\n"}) {
    EXPECT_THAT(page, HasSubstr(line));
  }
  EXPECT_THAT(page, ::testing::Not(HasSubstr("made-up"))) << "clients must not make counters";
}

TEST_F(RestConformance, StatusSaysWhyAVersionIsNotServed) {
  write_file("m/2/model.nacre", "half a bundle");
  core_->models.poll_now();
  Wire wire(rest_->port());
  const WireReply reply = wire.ask("GET", "/v1/models/m");
  EXPECT_EQ(reply.status, 200);
  const Json json = Json::parse(reply.body);
  const Json& broken = json.at("model_version_status").at(0);
  EXPECT_EQ(broken.at("version"), "2");
  EXPECT_EQ(broken.at("state"), "END");
  EXPECT_EQ(broken.at("status").at("error_code"), "DATA_LOSS");
  EXPECT_THAT(broken.at("status").at("error_message").get<std::string>(), HasSubstr("model.nacre"));
  EXPECT_EQ(json.at("model_version_status").at(1).at("state"), "AVAILABLE");
}

TEST_F(RestConformance, ReadinessIsHonest) {
  ASSERT_TRUE(core_->models.reload({{"m", path("m"), {}, {}}, {"late", path("late"), {}, {}}}).ok());
  Wire wire(rest_->port());
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 503);
  EXPECT_EQ(wire.ask("GET", "/v2/health/live").status, 200);
  write_version("late/1", make_small_bundle(3));
  core_->models.poll_now();
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200);
  core_->draining = true;
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 503);
}

}  // namespace
}  // namespace nacre
