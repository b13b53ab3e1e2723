// What TensorFlow Serving's REST clients know, through a real socket: status, body and the text of errors.

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "engine/base64.h"
#include "tests/serve/rest_cases.h"
#include "tests/serve/serve_fixture.h"
#include "tests/train/data_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

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
  put("$A", encode_base64(make_picture(1)));
  put("$B", encode_base64(make_picture(2, 20, 11)));
  put("$F", numbers(6, 6, 3));
  put("$X", encode_base64(std::as_bytes(std::span(std::string_view("no picture at all")))));
  return text;
}

constexpr const char* kOneImage = R"({"instances":[{"b64":"$A"}]})";

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
  for (const RestCase& one : rest_cases()) {
    SCOPED_TRACE(one.name);
    const size_t space = one.request.find(' ');
    const WireReply reply =
        wire.ask(one.request.substr(0, space), one.request.substr(space + 1), filled(one.body));
    EXPECT_EQ(reply.status, one.status) << reply.body;
    for (const std::string& part : one.parts) EXPECT_THAT(reply.body, HasSubstr(part));
    if (one.parts.empty()) {
      EXPECT_EQ(reply.body, "");
    }
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

TEST_F(RestConformance, EveryWayToNameAVersionReachesThatOne) {
  write_version("m/2", make_small_bundle(2));
  ASSERT_TRUE(core_->models.reload({{"m", path("m"), AllVersions{}, {{"stable", 1}, {"canary", 2}}}}).ok());
  const std::vector<std::byte> picture = make_picture(1);
  const EncodedImage image(picture);
  std::map<int64_t, std::vector<float>> expected;
  for (const int64_t version : {1, 2})
    expected[version] = *found("m", version)->model().classify({&image, 1}).front();
  ASSERT_NE(expected[1], expected[2]);
  Wire wire(rest_->port());
  for (const auto& [of, version] : std::map<std::string, int64_t>{{"", 2},
                                                                  {"/versions/1", 1},
                                                                  {"/versions/2", 2},
                                                                  {"/versions/0001", 1},
                                                                  {"/labels/stable", 1},
                                                                  {"/labels/canary", 2}}) {
    SCOPED_TRACE(of);
    const Json plain =
        Json::parse(wire.ask("POST", "/v1/models/m" + of + ":predict", filled(kOneImage)).body);
    EXPECT_EQ(plain.at("predictions").at(0).get<std::vector<float>>(), expected[version]);
    const Json classes = Json::parse(wire.ask("POST", "/v1/models/m" + of + ":classify",
                                              filled(R"({"examples":[{"image":{"b64":"$A"}}]})"))
                                         .body);
    EXPECT_EQ(classes.at("results").at(0).at(0).at(1).get<float>(), expected[version][0]);
    const Json metadata = Json::parse(wire.ask("GET", "/v1/models/m" + of + "/metadata").body);
    EXPECT_EQ(metadata.at("model_spec").at("version"), std::to_string(version));
    if (of.starts_with("/labels")) continue;
    const Json cloud =
        Json::parse(wire.ask("POST", "/v1/projects/p/models/m" + of + ":predict", filled(kOneImage)).body);
    EXPECT_EQ(cloud.at("predictions").at(0).at("prediction").get<std::vector<float>>(), expected[version]);
  }
  for (const auto& [name, version] : std::map<std::string, int64_t>{{"stable", 1}, {"canary", 2}}) {
    const Json cloud = Json::parse(
        wire.ask("POST", "/v1/projects/p/models/m/versions/" + name + ":predict", filled(kOneImage)).body);
    EXPECT_EQ(cloud.at("predictions").at(0).at("prediction").get<std::vector<float>>(), expected[version]);
  }
}

class RestJoined : public ServeTest {};

TEST_F(RestJoined, RequestsThatWaitGoTogetherAndEachHasItsOwnReply) {
  options_.slots = rest_options_.http.threads = 1;
  options_.models.servable.joined.batch_timeout = kUnhurried;
  write_version("m/1", make_small_bundle(1));
  serve({{"m", path("m"), {}, {}}});
  serve_rest();
  const auto body = [](const std::vector<std::byte>& picture) {
    return R"({"instances":[{"b64":")" + encode_base64(picture) + "\"}]}";
  };
  std::vector<std::vector<std::byte>> pictures = {make_picture(1), make_picture(2), make_picture(3, 20, 31)};
  pictures[1].resize(pictures[1].size() / 2);
  std::vector<WireReply> alone;
  for (const auto& picture : pictures)
    alone.push_back(Wire(rest_->port()).ask("POST", "/v1/models/m:predict", body(picture)));
  auto held = std::make_optional(core_->slots->acquire({}));  // nothing can compute
  std::vector<std::jthread> clients;
  for (size_t i = 0; i < pictures.size(); ++i) {
    clients.emplace_back([&, i] {
      const WireReply reply = Wire(rest_->port()).ask("POST", "/v1/models/m:predict", body(pictures[i]));
      EXPECT_EQ(reply.status, i == 1 ? 400 : 200);
      EXPECT_EQ(reply.body, alone[i].body);
    });
    EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1 && core_->waiting == i; }));
  }
  held.reset();
  clients.clear();
  const std::string metrics = core_->metrics.prometheus();
  EXPECT_THAT(metrics, HasSubstr(":nacre:serving:batch_size_bucket{le=\"1\"} 2\n")) << "those before";
  EXPECT_THAT(metrics, HasSubstr(":nacre:serving:batch_size_bucket{le=\"2\"} 3\n"));
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

TEST_F(RestConformance, CompressedBodies) {
  Wire wire(rest_->port());
  const auto ask = [&](const std::string& body, const std::string& encoding = "gzip") {
    return wire.ask("POST", "/v1/models/m:predict", body, "Content-Encoding: " + encoding + "\r\n");
  };
  const std::string plain = R"({"instances": [{"b64": "no"}]})";
  const WireReply expected = wire.ask("POST", "/v1/models/m:predict", plain);
  const std::string packed = gzip(plain);
  const WireReply reply = ask(packed);
  EXPECT_EQ(reply.status, expected.status);
  EXPECT_EQ(reply.body, expected.body);
  EXPECT_EQ(ask(plain, "identity").body, expected.body);
  EXPECT_EQ(ask(packed, "GZip").body, expected.body);

  const std::vector<std::pair<std::string, std::string>> refused = {
      {"xx", "expected gzip data"},
      {packed.substr(0, 17), "expected gzip data"},
      {packed + std::string("\0\0\4\0", 4), "damaged gzip data"},
      {packed.substr(0, 20) + packed.substr(packed.size() - 8), "gzip"},
      {gzip(std::string(size_t{100} << 20, ' ')), "holds 104857600 bytes, the limit is"},
  };
  for (const auto& [body, reason] : refused) {
    const WireReply bad = ask(body);
    EXPECT_EQ(bad.status, 400) << reason;
    EXPECT_THAT(bad.body, HasSubstr(reason));
  }
  const WireReply unknown = ask("xx", "br");
  EXPECT_EQ(unknown.status, 501);
  EXPECT_THAT(unknown.body, HasSubstr("Content-Encoding br is not supported"));
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

TEST_F(RestConformance, CallsOfVersionsThatAreNotThereAreTheModels) {
  Wire wire(rest_->port());
  wire.ask("POST", "/v1/models/m/versions/9:predict", filled(kOneImage));
  wire.ask("POST", "/v1/models/m/labels/nope:predict", filled(kOneImage));
  const std::string page = wire.ask("GET", "/monitoring/prometheus/metrics").body;
  EXPECT_THAT(page,
              HasSubstr(":tensorflow:serving:request_count{model_name=\"m\",status=\"NOT_FOUND\"} 1\n"));
  EXPECT_THAT(
      page, HasSubstr(":tensorflow:serving:request_count{model_name=\"m\",status=\"INVALID_ARGUMENT\"} 1\n"));
  EXPECT_THAT(page, ::testing::Not(HasSubstr("model_name=\"\"")));
}

TEST_F(RestConformance, MetricsCountWhatIsRefusedBeforeItHasARoute) {
  rest_options_.http.threads = 1;
  rest_options_.http.max_waiting = 0;
  rest_options_.http.limits.receive = std::chrono::milliseconds(50);
  rest_options_.http.limits.max_body_bytes = 1000;
  rest_options_.http.limits.max_buffered_bytes = 900;
  serve_rest();
  const auto status = [&](const std::string& bytes) {
    Wire wire(rest_->port());
    wire.send(bytes);
    return wire.receive().status;
  };
  EXPECT_EQ(status("hello\r\n\r\n"), 400);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nExpect: the moon\r\n\r\n"), 417);
  EXPECT_EQ(status("GET / HTT"), 408);
  EXPECT_EQ(status("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"), 413);
  EXPECT_EQ(status("GET /" + std::string(40'000, 'a')), 431);
  EXPECT_EQ(status("POST / HTTP/1.1\r\nContent-Length: 950\r\n\r\n" + std::string(940, 'a')), 503);
  EXPECT_EQ(status("GET /nothing HTTP/1.1\r\n\r\n"), 404);
  std::vector<ComputeSlots::Lease> held;
  for (size_t i = 0; i < options_.slots; ++i) held.push_back(core_->slots->acquire({}).value());
  const std::string body = filled(kOneImage);
  Wire waits(rest_->port());
  waits.send("POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\n\r\n" + body);
  ASSERT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  EXPECT_EQ(Wire(rest_->port()).ask("POST", "/v1/models/m:predict", "x").status, 429);
  held.clear();
  EXPECT_EQ(waits.receive().status, 200);
  const std::string page = Wire(rest_->port()).ask("GET", "/monitoring/prometheus/metrics").body;
  for (const std::string reason :
       {"malformed\"} 2", "too_slow\"} 1", "body_too_long\"} 1", "header_too_long\"} 1",
        "too_many_bytes\"} 1", "no_route\"} 1", "too_many_requests\"} 1"}) {
    EXPECT_THAT(page, HasSubstr(":nacre:serving:refused_request_count{entrypoint=\"REST\",reason=\"" +
                                reason + "\n"));
  }
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
  Wire wire(rest_->port());
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200);
  // What comes to the configuration later takes nothing that is served from its clients.
  EXPECT_EQ(core_->models.reload({{"m", path("m"), {}, {}}, {"late", path("late"), {}, {}}}).code(),
            RpcCode::kUnknown);
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200);
  EXPECT_EQ(wire.ask("GET", "/v2/models/late/ready").status, 404);
  EXPECT_THAT(lines(), testing::Contains("ready: no version is available of late"));
  write_version("late/1", make_small_bundle(3));
  core_->models.poll_now();
  EXPECT_EQ(wire.ask("GET", "/v2/models/late/ready").status, 200);
  EXPECT_EQ(core_->models.reload({{"none", path("none"), {}, {}}}).code(), RpcCode::kUnknown);
  const WireReply nothing = wire.ask("GET", "/v2/health/ready");
  EXPECT_EQ(nothing.status, 503);
  EXPECT_EQ(nothing.body, "no version is available of none\n");
  EXPECT_EQ(wire.ask("GET", "/v2/health/live").status, 200);
  EXPECT_TRUE(core_->models.reload({{"m", path("m"), {}, {}}}).ok());
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200);
  core_->draining = true;
  const WireReply stopping = wire.ask("GET", "/v2/health/ready");
  EXPECT_EQ(stopping.status, 503);
  EXPECT_EQ(stopping.body, "the server stops\n");
}

TEST_F(ServeTest, AllThatIsConfiguredAtTheStartIsWaitedFor) {
  write_version("m/1", make_small_bundle(1));
  serve({});
  serve_rest();
  Wire wire(rest_->port());
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").body, "no model is known yet\n");
  EXPECT_EQ(core_->models.reload({{"m", path("m"), {}, {}}, {"late", path("late"), {}, {}}}).code(),
            RpcCode::kUnknown);
  const WireReply reply = wire.ask("GET", "/v2/health/ready");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.body, "no version is available of late\n");
  write_version("late/1", make_small_bundle(3));
  core_->models.poll_now();
  EXPECT_EQ(wire.ask("GET", "/v2/health/ready").status, 200);
}

}  // namespace
}  // namespace nacre
