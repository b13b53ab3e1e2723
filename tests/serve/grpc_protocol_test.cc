// gRPC's protocol as it comes over the wire, right and wrong.
#include <gmock/gmock.h>

#include <mutex>

#include "tests/serve/grpc_transport_fixture.h"

namespace nacre {
namespace {

class GrpcProtocol : public GrpcTransportTest {};

TEST_F(GrpcProtocol, AnswersCallAfterCall) {
  Http2Wire wire(port());
  const Http2Wire::Reply first = wire.call(1, text("hello"));
  EXPECT_EQ(first.status(), "0");
  EXPECT_EQ(first.body, Http2Wire::prefixed(text("hello")));
  EXPECT_EQ(first.headers.at(":status"), "200");
  EXPECT_EQ(first.headers.at("content-type"), "application/grpc");
  EXPECT_EQ(first.headers.at("grpc-accept-encoding"), "identity, deflate, gzip");
  const std::string large = text(std::string(1 << 20, 'z'));
  EXPECT_TRUE(wire.call(3, large).body == Http2Wire::prefixed(large));
  EXPECT_EQ(wire.call(5, "").body, Http2Wire::prefixed(text("")));
}

TEST_F(GrpcProtocol, RefusesWhatIsNoCall) {
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, "", {{"content-type", "application/json"}}).status(), "http 415");
  EXPECT_EQ(wire.call(3, "", {{"content-type", "(none)"}}).status(), "http 415");
  EXPECT_EQ(wire.call(5, "", {{":method", "GET"}}).status(), "http 405");
  EXPECT_EQ(wire.call(7, "", {{"te", "(none)"}}).status(), "13 te: trailers is missing");
  EXPECT_EQ(wire.call(9, "", {{"grpc-timeout", "soon"}}).status(), "13 grpc-timeout is none");
  EXPECT_EQ(wire.call(11, "", {}, "/test.Echo/Sing%").status(), "12 no method /test.Echo/Sing%25");
  EXPECT_EQ(wire.call(13, "", {{"content-type", "application/grpc+proto"}}).status(), "0");
}

TEST_F(GrpcProtocol, AccessIsToldOfEveryCall) {
  std::mutex mutex;
  std::vector<AccessRecord> records;
  options_.access = [&](const AccessRecord& record) {
    const std::lock_guard lock(mutex);
    records.push_back(record);
  };
  start();
  const auto next = [&](size_t count) {
    EXPECT_TRUE(eventually([&] {
      const std::lock_guard lock(mutex);
      return records.size() == count;
    }));
    const std::lock_guard lock(mutex);
    const AccessRecord record = records.empty() ? AccessRecord() : records.back();
    EXPECT_EQ(record.peer, "127.0.0.1");
    EXPECT_EQ(record.method, "gRPC");
    return record;
  };
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, text("hello")).status(), "0");
  const AccessRecord said = next(1);
  EXPECT_EQ(said.target, "/test.Echo/Say");
  EXPECT_EQ(said.status, 0);
  EXPECT_EQ(said.request_bytes, Http2Wire::prefixed(text("hello")).size());
  EXPECT_EQ(said.reply_bytes, said.request_bytes);
  EXPECT_GT(said.latency.count(), 0);
  EXPECT_EQ(wire.call(3, "", {}, "/test.Echo/Sing").status(), "12 no method /test.Echo/Sing");
  const AccessRecord unknown = next(2);
  EXPECT_EQ(unknown.target, "/test.Echo/Sing");
  EXPECT_EQ(unknown.status, 12);
  EXPECT_EQ(wire.call(5, "", {{":method", "GET"}}).status(), "http 405");
  EXPECT_EQ(next(3).status, 2);
  // Its client gives it up; then a whole connection.
  wire.send_headers(7, {}, false, "/test.Echo/Hold");
  wire.send_message(7, text("a"));
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  wire.send_frame(NGHTTP2_RST_STREAM, 0, 7, std::string("\0\0\0\x08", 4));
  const AccessRecord given_up = next(4);
  EXPECT_EQ(given_up.target, "/test.Echo/Hold");
  EXPECT_EQ(given_up.status, 1);
  {
    Http2Wire other(port());
    other.send_headers(1, {}, false, "/test.Echo/Hold");
    other.send_message(1, text("a"));
    ASSERT_TRUE(eventually([&] { return held_ == 2; }));
  }
  EXPECT_EQ(next(5).status, 1);
  server_.reset();  // it would outlive what it tells
}

TEST_F(GrpcProtocol, ACallHasOneMessage) {
  Http2Wire wire(port());
  wire.send_headers(1, {}, true);
  EXPECT_EQ(wire.reply(1).status(), "13 the request has no message");
  wire.send_headers(3);
  wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, std::string("\0\0\0\0\5ab", 7));
  EXPECT_EQ(wire.reply(3).status(), "13 the request ends within a message");
  wire.send_headers(5);
  wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 5, std::string("\0\0", 2));
  EXPECT_EQ(wire.reply(5).status(), "13 the request ends within a message");
  wire.send_headers(7);
  wire.send_message(7, text("a"), false);
  wire.send_message(7, text("b"));
  EXPECT_EQ(wire.reply(7).status(), "13 more than one request message");
  wire.send_headers(9);
  wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 9, Http2Wire::prefixed(text("a"), 7));
  EXPECT_EQ(wire.reply(9).status(), "13 unknown compression flag 7");
  wire.send_headers(11);
  wire.send_message(11, text("in two parts"), false);
  wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 11, "");
  EXPECT_EQ(wire.reply(11).status(), "0");
}

TEST_F(GrpcProtocol, Compression) {
  Http2Wire wire(port());
  const std::string message = Http2Wire::prefixed("no gzip", 1);
  const auto ask = [&](uint32_t stream, const Http2Wire::Headers& headers) {
    wire.send_headers(stream, headers);
    wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, message);
    return wire.reply(stream);
  };
  EXPECT_EQ(ask(1, {}).status(), "13 a compressed message without grpc-encoding");
  EXPECT_EQ(ask(3, {{"grpc-encoding", "gzip"}}).status(), "13 a compressed message is damaged");
  const Http2Wire::Reply unknown = ask(5, {{"grpc-encoding", "snappy"}});
  EXPECT_EQ(unknown.status(), "12 grpc-encoding is not supported");
  EXPECT_EQ(unknown.headers.at("grpc-accept-encoding"), "identity, deflate, gzip");
}

TEST_F(GrpcProtocol, MessagesHaveALargestSize) {
  options_.limits.max_message_bytes = 1000;
  start();
  Http2Wire wire(port());
  wire.send_headers(1);
  wire.send_frame(NGHTTP2_DATA, 0, 1, std::string("\0\0\0\x03\xe9", 5));  // 1001, of which nothing comes
  const Http2Wire::Reply refused = wire.reply(1);
  EXPECT_EQ(refused.status(), "8 Received message larger than max (1001 vs. 1000)");
  const Http2Wire::Frame reset = wire.read_frame();
  EXPECT_EQ(reset.type, NGHTTP2_RST_STREAM) << "the client need not go on";
  EXPECT_EQ(reset.payload, std::string(4, '\0'));
  EXPECT_EQ(wire.call(3, text("small")).status(), "0");
}

TEST_F(GrpcProtocol, ADeadlineIsTheServersToo) {
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, "", {{"grpc-timeout", "50m"}}, "/test.Echo/Hold").status(),
            "4 the deadline has passed");
  EXPECT_EQ(wire.call(3, "", {{"grpc-timeout", "0n"}}, "/test.Echo/Hold").status(),
            "4 the deadline has passed");
  released_ = true;
  EXPECT_EQ(wire.call(5, "", {{"grpc-timeout", "99999999H"}}).status(), "0");
}

TEST_F(GrpcProtocol, AResetIsToldToTheCall) {
  Http2Wire wire(port());
  wire.send_headers(1, {}, false, "/test.Echo/Hold");
  wire.send_message(1, "");
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  wire.send_frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x08", 4));
  EXPECT_TRUE(eventually([&] { return cancelled_ == 1; }));
  wire.send_headers(3, {}, false, "/test.Echo/Hold");
  wire.send_message(3, "");
  ASSERT_TRUE(eventually([&] { return held_ == 2; }));
  wire.wire().close();
  EXPECT_TRUE(eventually([&] { return cancelled_ == 2; })) << "so is the end of the connection";
}

TEST_F(GrpcProtocol, AResetWithinARequestFreesIt) {
  Http2Wire wire(port());
  for (uint32_t stream = 1; stream < 200; stream += 2) {
    wire.send_headers(stream);
    wire.send_frame(NGHTTP2_DATA, 0, stream, Http2Wire::prefixed(std::string(5000, 'x')).substr(0, 4000));
    wire.send_frame(NGHTTP2_RST_STREAM, 0, stream, std::string("\0\0\0\x08", 4));
  }
  EXPECT_EQ(wire.call(201, text("x")).status(), "0");
}

TEST_F(GrpcProtocol, MemoryThatRunsOutIsTheCallsOwnFailure) {
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, "", {}, "/test.Echo/Forget").status(), "8 out of memory");
  EXPECT_EQ(wire.call(3, text("x")).status(), "0");
  wire.send_headers(5, {}, false, "/test.Echo/Chat");
  wire.send_message(5, text("hello"), false);
  wire.send_message(5, text("forget"), false);
  const Http2Wire::Reply reply = wire.reply(5);
  EXPECT_EQ(reply.status(), "8 out of memory");
  EXPECT_EQ(reply.body, Http2Wire::prefixed(text("hello")));
}

TEST_F(GrpcProtocol, AConversationAnswersMessageByMessage) {
  Http2Wire wire(port());
  wire.send_headers(1, {}, false, "/test.Echo/Chat");
  for (const char* word : {"a", "b"}) wire.send_message(1, text(word), false);
  wire.send_message(1, text("c"));
  const Http2Wire::Reply reply = wire.reply(1);
  EXPECT_EQ(reply.status(), "0");
  std::string all;
  for (const char* word : {"a", "b", "c"}) all += Http2Wire::prefixed(text(word));
  EXPECT_EQ(reply.body, all);
  wire.send_headers(3, {}, true, "/test.Echo/Chat");
  EXPECT_EQ(wire.reply(3).status(), "0") << "without a word";
  wire.send_headers(5, {}, false, "/test.Echo/Chat");
  wire.send_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 5, std::string("\0\0\0\0\5ab", 7));
  EXPECT_EQ(wire.reply(5).status(), "13 the request ends within a message");
}

TEST_F(GrpcProtocol, WhoTakesNoAnswersMayAskLittle) {
  Http2Wire wire(port(), true, 0);
  wire.send_headers(1, {}, false, "/test.Echo/Chat");
  for (int i = 0; i < 20; ++i) wire.send_message(1, text("much"), false);
  wire.send_message(1, text("last"));
  // Answers wait for each other: the client has them all, one by one.
  const std::string window("\x7f\xff\0\0", 4);
  wire.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, window);
  const Http2Wire::Reply reply = wire.reply(1);
  EXPECT_EQ(reply.status(), "0");
  EXPECT_GT(reply.body.size(), 20 * 100'000U);
  EXPECT_THAT(reply.body.substr(reply.body.size() - 4), "last");
  Http2Wire other(port(), true, 0);
  other.send_headers(1, {}, false, "/test.Echo/Chat");
  other.send_message(1, text("much"), false);
  for (int i = 0; i < 10; ++i) other.send_message(1, text(std::string(10'000, 'q')), false);
  other.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, window);
  EXPECT_EQ(other.reply(1).status(), "8 too many questions wait");
}

TEST_F(GrpcProtocol, ManyCallsOfManyConnections) {
  std::atomic<int> good{0};
  const auto ask = [&](int seed) {
    Http2Wire wire(port());
    constexpr uint32_t kCalls = 40;
    for (uint32_t round = 0; round < 10; ++round) {
      const uint32_t first = 1 + 2 * kCalls * round;
      for (uint32_t i = 0; i < kCalls; ++i) {
        const uint32_t stream = first + 2 * i;
        const std::string said =
            text(std::string(i * i * static_cast<size_t>(seed), 'x') + std::to_string(stream));
        wire.send_headers(stream,
                          i % 7 == 3 ? Http2Wire::Headers{{"grpc-timeout", "1u"}} : Http2Wire::Headers{});
        if (i % 5 == 4) wire.send_frame(NGHTTP2_RST_STREAM, 0, stream, std::string("\0\0\0\x08", 4));
        if (i % 5 != 4) wire.send_message(stream, said);
      }
      for (uint32_t i = 0; i < kCalls; ++i) {
        if (i % 5 == 4) continue;
        const uint32_t stream = first + 2 * i;
        const Http2Wire::Reply reply = wire.reply(stream);
        const bool hurried = i % 7 == 3;
        EXPECT_TRUE(reply.status() == "0" || (hurried && reply.status().starts_with("4 "))) << reply.status();
        if (reply.status() != "0") continue;
        EXPECT_TRUE(reply.body.ends_with(std::to_string(stream)));
        ++good;
      }
    }
  };
  std::vector<std::jthread> clients;
  for (int seed = 1; seed <= 4; ++seed) clients.emplace_back(ask, seed);
  clients.clear();
  EXPECT_GE(good, 4 * 10 * 26);
}

TEST_F(GrpcProtocol, CallsThatComeTogetherAreAnsweredTogether) {
  at_once_ = 4;
  for (int round = 0; round < 20; ++round) {
    held_ = 0;
    released_ = false;
    start();
    Http2Wire wire(port());
    ASSERT_EQ(wire.call(1, text("x")).status(), "0");
    std::string calls;
    for (uint32_t stream = 3; stream < 3 + 2 * 4; stream += 2) {
      calls += Http2Wire::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
                                Http2Wire::encode(Http2Wire::call_headers({}, "/test.Echo/Hold")));
      calls += Http2Wire::frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, Http2Wire::prefixed(""));
    }
    wire.send(calls);
    ASSERT_TRUE(eventually([&] { return held_ == 4; })) << "each has a thread";
    released_ = true;
    for (uint32_t stream = 3; stream < 3 + 2 * 4; stream += 2) EXPECT_EQ(wire.reply(stream).status(), "0");
  }
}

TEST_F(GrpcProtocol, ARequestThatIsReleasedTakesNoMemory) {
  Http2Wire wire(port());
  const std::string left = wire.call(1, std::string(100'000, 'x'), {}, "/test.Echo/Release").body;
  EXPECT_LT(left.size(), 5 + 2 + 4U) << "a number of three digits at most";
}

}  // namespace
}  // namespace nacre
