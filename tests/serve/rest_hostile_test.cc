// Inputs 52 to 54 and 57 of the reliability list through the whole server; those of the protocol are in
// http_server_test.cc.

#include <gmock/gmock.h>

#include "engine/base64.h"
#include "serve/rest/json_request.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPredict = "/v1/models/m:predict";

class RestHostile : public ServeTest {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    write_version("m/1", make_small_bundle(1));
  }
  void start() {
    serve({{"m", path("m"), {}, {}}});
    serve_rest();
  }
};

TEST_F(RestHostile, DeepJson) {
  start();
  Wire wire(rest_->port());
  constexpr size_t kDepth = 500'000;
  const std::vector<std::string> bodies = {
      std::string(kDepth, '['), std::string(kDepth, '[') + std::string(kDepth, ']'),
      R"({"instances":)" + std::string(kDepth, '[') + std::string(kDepth, ']') + "}", [] {
        std::string text;
        for (size_t i = 0; i < kDepth; ++i) text += R"({"a":)";
        return text;
      }()};
  for (const std::string& body : bodies) {
    const WireReply reply = wire.ask("POST", kPredict, body);
    EXPECT_EQ(reply.status, 400);
    EXPECT_THAT(reply.body, HasSubstr("JSON Parse error: Invalid value"));
  }
}

TEST_F(RestHostile, BadAndHugeBase64) {
  start();
  Wire wire(rest_->port());
  for (const std::string text : {"A", "AAAAA", "A=AA", "====", "AA\\u0000A", "-_-_"}) {
    EXPECT_EQ(wire.ask("POST", kPredict, R"({"instances":[{"b64":")" + text + R"("}]})").status, 400) << text;
  }
  const WireReply huge = wire.ask(
      "POST", kPredict, R"({"instances":[{"b64":")" + std::string(size_t{20} << 20, 'A') + R"("}]})");
  EXPECT_EQ(huge.status, 400);
  EXPECT_THAT(huge.body, HasSubstr("Failed to process element: 0"));
}

TEST_F(RestHostile, WhatLargeBodiesBecomeIsBounded) {
  start();
  constexpr size_t kMegabyte = size_t{1} << 20;
  const RestService service(*core_, false, "", 8 * kMegabyte, 9 * kMegabyte);
  const auto status = [&](const std::string& body) {
    return service.handle({"POST", kPredict, body, "", ""}, {}).status;
  };
  std::string dense = "{\"instances\":[0";
  while (dense.size() < 2 * kMegabyte) dense += ",0";
  dense += "]}";
  const std::string image = R"({"instances":[{"b64":")" + std::string(2 * kMegabyte, 'A') + R"("}]})";
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(status(dense), 503) << "its index takes thirteen times as much";
    EXPECT_EQ(status(image), 400) << "no image, but it was read";
  }
  EXPECT_EQ(status(dense.substr(0, kMegabyte / 2)), 400) << "a small one is not counted";
}

TEST(JsonMemory, IsThatOfTheIndexAtLeast) {
  for (const std::string part : {"1,", "[],", "{\"a\":1},", "\"\",", "\"abcd\","}) {
    std::string list;
    while (list.size() < 100'000) list += part;
    const std::string text = "{\"a\":[" + list + "0]}";
    simdjson::dom::parser parser;
    ASSERT_EQ(parser.parse(text).error(), simdjson::SUCCESS) << part;
    size_t tape = 0;  // the last word of the root tells where the next value would be
    tape = parser.doc.tape[0] & 0xFFFFFFFFFFFFFF;
    EXPECT_GE(json_memory(text), tape * 8 + parser.implementation->n_structural_indexes * 4) << part;
    EXPECT_LE(json_memory(text), 15 * text.size()) << part;
  }
}

TEST_F(RestHostile, ManyInstances) {
  start();
  std::string body = R"({"instances":[)";
  for (int i = 0; i < 300'000; ++i) body += R"({"b64":""},)";
  body.back() = ']';
  Wire wire(rest_->port());
  const WireReply reply = wire.ask("POST", kPredict, body + "}");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("more than 4096 images in one request"));
}

TEST_F(RestHostile, MixedAndRaggedJson) {
  start();
  Wire wire(rest_->port());
  for (const std::string body : {R"({"instances":[1,"a",null,{}]})", R"({"instances":[{}]})",
                                 R"({"instances":[[]]})", R"({"inputs":{}})", R"({"inputs":null})",
                                 R"({"signature_name":"float_image","instances":[[[1],[2,3]]]})",
                                 R"({"signature_name":"float_image","inputs":{"image":[[[]]]}})",
                                 R"({"signature_name":"float_image","instances":[true]})",
                                 R"({"instances":"text"})", R"({"":""})", "{}"}) {
    const WireReply reply = wire.ask("POST", kPredict, body);
    EXPECT_EQ(reply.status, 400) << body;
    EXPECT_THAT(reply.body, HasSubstr("\"error\": ")) << body;
  }
}

TEST_F(RestHostile, ErrorsEchoNoControlCharacters) {
  start();
  Wire wire(rest_->port());
  const WireReply reply = wire.ask("POST", "/v1/models/%0d%0aX-Evil:%20%ff%00:predict", "{}");
  EXPECT_GE(reply.status, 400);
  for (const char c : reply.body) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << int{c};
  EXPECT_THAT(reply.head, ::testing::Not(HasSubstr("X-Evil")));
}

TEST_F(RestHostile, ADeadlineThatPasses) {
  rest_options_.http.limits.work = std::chrono::milliseconds(50);
  options_.slots = 1;
  start();
  const auto held = core_->slots->acquire({});  // nothing can compute
  Wire wire(rest_->port());
  const WireReply reply =
      wire.ask("POST", kPredict, R"({"instances":[{"b64":")" + encode_base64(make_picture(1)) + R"("}]})");
  EXPECT_EQ(reply.status, 504);
  EXPECT_THAT(reply.body, HasSubstr("the deadline has passed"));
}

TEST_F(RestHostile, AFullQueue) {
  options_.slots = 1;
  options_.max_waiting = 0;
  start();
  const auto held = core_->slots->acquire({});
  Wire wire(rest_->port());
  const WireReply reply =
      wire.ask("POST", kPredict, R"({"instances":[{"b64":")" + encode_base64(make_picture(1)) + R"("}]})");
  EXPECT_EQ(reply.status, 429);
  EXPECT_THAT(reply.body, HasSubstr("too many requests"));
}

TEST_F(RestHostile, AVanishedClientFreesItsPlace) {
  options_.slots = 1;
  start();
  const auto held = core_->slots->acquire({});
  {
    Wire wire(rest_->port());
    const std::string body = R"({"instances":[{"b64":")" + encode_base64(make_picture(1)) + R"("}]})";
    wire.send("POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
    ASSERT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 0; }));
  EXPECT_TRUE(eventually([&] {
    return core_->metrics.prometheus().find("request_count{model_name=\"m\",status=\"CANCELLED\"} 1") !=
           std::string::npos;
  }));
}

}  // namespace
}  // namespace nacre
