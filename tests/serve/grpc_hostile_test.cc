// Clients that break HTTP/2, or make the server hold or do too much.
#include <gmock/gmock.h>

#include "tests/serve/grpc_transport_fixture.h"

namespace nacre {
namespace {

using std::chrono::milliseconds;
using testing::AnyOf;
using testing::StartsWith;

class GrpcHostile : public GrpcTransportTest {};

const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

TEST_F(GrpcHostile, WhatIsNoHttp2IsClosed) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string(1000, '\0'),
        kPreface.substr(0, 20) + "xxxx", kPreface + "garbage that is no frame at all, of some length",
        kPreface + Http2Wire::frame(NGHTTP2_HEADERS, 0, 1, "before SETTINGS"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(500, 'x')}) {
    Http2Wire wire(port(), false);
    ASSERT_TRUE(wire.wire().connected());
    wire.send(bytes);
    while (wire.read_frame().type >= 0) {
    }
    EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  }
  expect_alive();
}

TEST_F(GrpcHostile, WhoDoesNotSpeakIsCutOff) {
  options_.limits.handshake = milliseconds(100);
  start();
  Http2Wire silent(port(), false);
  Http2Wire half(port(), false);
  half.send(kPreface);
  ASSERT_TRUE(silent.wire().connected() && half.wire().connected());
  EXPECT_TRUE(eventually([&] { return server_->connections() == 2; }));
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  expect_alive();
}

TEST_F(GrpcHostile, WhoHasNoCallIsSentAway) {
  options_.limits.idle = milliseconds(100);
  options_.limits.goaway_grace = milliseconds(50);
  start();
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, text("x")).status(), "0");
  EXPECT_EQ(wire.read_frame().goaway(), "2147483647 0");
  EXPECT_EQ(wire.read_frame().type, NGHTTP2_PING);
  EXPECT_EQ(wire.read_frame().goaway(), "1 0") << "although PING was not answered";
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; })) << "whether it closes or not";
}

TEST_F(GrpcHostile, ARequestThatDoesNotArriveIsRefused) {
  options_.limits.transfer = milliseconds(100);
  start();
  Http2Wire wire(port());
  wire.send_headers(1);
  EXPECT_EQ(wire.reply(1).status(), "4 the request did not arrive in time");
  wire.send_headers(3);
  wire.send_frame(NGHTTP2_DATA, 0, 3, Http2Wire::prefixed("a message").substr(0, 8));
  EXPECT_EQ(wire.reply(3).status(), "4 the request did not arrive in time");
  wire.send_headers(5, {}, false, "/test.Echo/Chat");
  wire.send_message(5, text("whole"), false);
  std::this_thread::sleep_for(milliseconds(300));
  wire.send_frame(NGHTTP2_DATA, 0, 5, Http2Wire::prefixed("a message").substr(0, 8));
  const Http2Wire::Reply reply = wire.reply(5);
  EXPECT_EQ(reply.status(), "4 the request did not arrive in time");
  EXPECT_EQ(reply.body, Http2Wire::prefixed(text("whole"))) << "who has asked in whole may take a rest";
}

TEST_F(GrpcHostile, AReplyThatNobodyTakesIsGivenUp) {
  options_.limits.transfer = milliseconds(100);
  options_.limits.send = milliseconds(100);
  start();
  Http2Wire closed_window(port(), true, 10);
  EXPECT_EQ(closed_window.call(1, text("longer than the window")).status(), "reset 8");
  Http2Wire reads_nothing(port(), true, 1 << 30);
  for (uint32_t stream = 1; stream < 21; stream += 2) {
    reads_nothing.send_headers(stream, {}, false, "/test.Echo/Large");
    reads_nothing.send_message(stream, "");
  }
  EXPECT_TRUE(eventually([&] { return server_->connections() == 1; })) << "it is cut off";
  expect_alive();
}

TEST_F(GrpcHostile, RepliesThatNobodyTakesAreBounded) {
  options_.limits.max_unsent_bytes = 2 * kLargeReply + kLargeReply / 2;
  start();
  std::vector<std::unique_ptr<Http2Wire>> wires;
  for (size_t i = 0; i < 4; ++i) {
    wires.push_back(std::make_unique<Http2Wire>(port(), true, 1000));
    wires.back()->send_headers(1, {}, false, "/test.Echo/Large");
    wires.back()->send_message(1, "");
    ASSERT_TRUE(eventually([&] { return large_replies_ == i + 1; }));
    std::this_thread::sleep_for(milliseconds(20));
  }
  const std::string window("\x7f\xff\0\0", 4);
  for (size_t i = 0; i < 4; ++i) {
    wires[i]->send_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, window);
    EXPECT_EQ(wires[i]->reply(1).status(), i < 2 ? "reset 8" : "0") << i;
  }
}

TEST_F(GrpcHostile, BytesOfAllRequestsAreBounded) {
  options_.limits.max_message_bytes = 100'000;
  options_.limits.max_buffered_bytes = 200'000;
  start();
  Http2Wire wire(port());
  const std::string part = Http2Wire::prefixed(text(std::string(90'000, 'x')));
  for (const uint32_t taken : {1U, 3U}) {
    wire.send_headers(taken);
    for (size_t at = 0; at < 80'000; at += 16'000)
      wire.send_frame(NGHTTP2_DATA, 0, taken, part.substr(at, 16'000));
  }
  wire.wait_until_taken();
  Http2Wire other(port());
  uint32_t stream = 1;
  const auto becomes = [&](const std::string& status) {
    return eventually([&] {
      stream += 2;
      return other.call(stream, text(std::string(60'000, 'x'))).status() == status;
    });
  };
  EXPECT_EQ(other.call(stream, text(std::string(60'000, 'x'))).status(),
            "14 too many bytes of requests are in hand");
  EXPECT_EQ(other.call(stream + 2, text("small")).status(), "0");
  stream += 2;
  wire.send_frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x08", 4));
  EXPECT_TRUE(becomes("0")) << "there is room again";
}

TEST_F(GrpcHostile, HeadersAreBounded) {
  Http2Wire wire(port());
  wire.send_headers(1, {{"x-large", std::string(16'200, 'x')}});  // HTTP/2 counts 32 bytes more for each
  wire.send_message(1, "");
  EXPECT_EQ(wire.reply(1).status(), "8 the headers are longer than 16384 bytes");
  EXPECT_EQ(wire.call(3, text("x")).status(), "0");
  // Many that take one byte each: the first is put into the table, and said again and again.
  std::string block = Http2Wire::encode(Http2Wire::call_headers({}));
  block += std::string("\x40\x01x\x01y", 5) + std::string(14'000, '\xbe');
  wire.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 5, block);
  wire.send_message(5, "");
  EXPECT_EQ(wire.reply(5).status(), "reset 2") << "beyond all measure";
  expect_alive();
}

TEST_F(GrpcHostile, ContinuationsAreBounded) {
  // The larger ones pass the measure of a call's headers first, which resets the call alone.
  for (const size_t size : {1'000U, 12'000U}) {
    Http2Wire wire(port());
    wire.send_frame(NGHTTP2_HEADERS, 0, 1, Http2Wire::encode(Http2Wire::call_headers({})));
    const std::string more = Http2Wire::encode({{"x", std::string(size, 'x')}});
    for (int i = 0; i < 1000; ++i)
      if (!wire.send_frame(NGHTTP2_CONTINUATION, 0, 1, more)) break;
    EXPECT_THAT(wire.ended(), AnyOf(StartsWith("goaway"), "closed"));
    EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  }
  expect_alive();
}

TEST_F(GrpcHostile, CallsOfAConnectionAreBounded) {
  Http2Wire wire(port());
  for (uint32_t stream = 1; stream < 2 * 1100; stream += 2) wire.send_headers(stream);
  EXPECT_EQ(wire.reply(2 * 1024 + 1).status(), "reset 7") << "the first that is too much";
  expect_alive();
}

TEST_F(GrpcHostile, CallsThatAreResetAtOnceAreBounded) {
  Http2Wire wire(port());
  uint32_t stream = 1;
  for (; stream < 2 * 3000; stream += 2) {
    std::string bytes = Http2Wire::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
                                         Http2Wire::encode(Http2Wire::call_headers({}, "/test.Echo/Hold")));
    bytes += Http2Wire::frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, Http2Wire::prefixed(""));
    bytes += Http2Wire::frame(NGHTTP2_RST_STREAM, 0, stream, std::string("\0\0\0\x08", 4));
    if (!wire.send(bytes)) break;
  }
  // Those that had begun count until they have noticed it; then all is as before.
  std::string status;
  EXPECT_TRUE(eventually([&] {
    stream += 2;
    status = wire.call(stream, text("x")).status();
    return status == "0";
  })) << status
      << " of call " << stream;
  expect_alive();
  Http2Wire flood(port());
  for (stream = 1; stream < 2 * 40'000; stream += 2) {
    std::string bytes = Http2Wire::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
                                         Http2Wire::encode(Http2Wire::call_headers({})));
    bytes += Http2Wire::frame(NGHTTP2_RST_STREAM, 0, stream, std::string("\0\0\0\x08", 4));
    if (!flood.send(bytes)) break;
  }
  EXPECT_THAT(flood.ended(), AnyOf(StartsWith("goaway"), "closed"));
  expect_alive();
}

TEST_F(GrpcHostile, FloodsOfWhatMustBeAnswered) {
  for (const std::string& one :
       {Http2Wire::frame(NGHTTP2_PING, 0, 0, "12345678"), Http2Wire::frame(NGHTTP2_SETTINGS, 0, 0, "")}) {
    Http2Wire wire(port());
    std::string many;
    for (int i = 0; i < 2000; ++i) many += one;
    // Who takes no answers is cut off; else this would go on for ever.
    while (wire.send(many)) {
    }
    EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  }
  expect_alive();
}

TEST_F(GrpcHostile, WhoDoesNotReadIsNotListenedTo) {
  options_.limits.send = milliseconds(300);
  start();
  Http2Wire wire(port());
  std::string refused;
  uint32_t stream = 1;
  size_t sent = 0;
  // Each is answered, if only by a reset.
  do {
    refused.clear();
    for (int i = 0; i < 500; ++i, stream += 2)
      refused += Http2Wire::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
                                  Http2Wire::encode(Http2Wire::call_headers({}, "/test.Echo/None")));
    sent += refused.size();
  } while (sent < (size_t{512} << 20) && wire.send(refused));
  EXPECT_LT(sent, size_t{256} << 20) << "no more than the system keeps of both ways";
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  expect_alive();
}

TEST_F(GrpcHostile, HeadersByReferenceAreBounded) {
  Http2Wire wire(port());
  // A value of 4,000 bytes goes into the table, and is said in one byte each from there on.
  std::string block = Http2Wire::encode(Http2Wire::call_headers({}));
  block += std::string("\x40\x01x", 3) + Http2Wire::encode({{"", std::string(4000, 'y')}}).substr(2);
  block += std::string(10'000, '\xbe');
  wire.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block);
  EXPECT_THAT(wire.reply(1).status(), StartsWith("reset"));
  EXPECT_EQ(wire.call(3, text("x")).status(), "0");
}

TEST_F(GrpcHostile, QuestionsAreNotCountedForEver) {
  options_.limits.max_message_bytes = 100'000;
  options_.limits.max_buffered_bytes = 200'000;
  start();
  Http2Wire wire(port());
  wire.send_headers(1, {}, false, "/test.Echo/Chat");
  for (int i = 0; i < 100; ++i) wire.send_message(1, text(std::string(10'000, 'q')), i == 99);
  const Http2Wire::Reply reply = wire.reply(1);
  EXPECT_EQ(reply.status(), "0");
  EXPECT_GT(reply.body.size(), 100 * 10'000U);
  Http2Wire large(port());
  large.send_headers(1, {}, false, "/test.Echo/Chat");
  large.send_message(1, text(std::string(90'000, 'q')), false);
  EXPECT_EQ(large.reply(1).status(), "8 Received message larger than max (90004 vs. 65536)");
}

TEST_F(GrpcHostile, AnswersThatNobodyTakesAreGivenUp) {
  options_.limits.transfer = milliseconds(100);
  start();
  Http2Wire wire(port(), true, 0);
  wire.send_headers(1, {}, false, "/test.Echo/Chat");
  wire.send_message(1, text("much"), false);
  EXPECT_EQ(wire.reply(1).status(), "reset 8");
}

TEST_F(GrpcHostile, WindowGames) {
  Http2Wire overflow(port());
  overflow.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\xff\xff\xff", 4));
  EXPECT_EQ(overflow.reply(1).status(), "goaway 3");
  Http2Wire zero(port());
  zero.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string(4, '\0'));
  EXPECT_EQ(zero.reply(1).status(), "goaway 1");
  Http2Wire settings(port(), true, 0x80000000U);
  EXPECT_EQ(settings.reply(1).status(), "goaway 3");
  // A window that opens byte by byte.
  Http2Wire slow(port(), true, 0);
  slow.send_headers(1);
  slow.send_message(1, text("abcdefgh"));
  for (int i = 0; i < 40; ++i) slow.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\0\0\0\1", 4));
  EXPECT_EQ(slow.reply(1).body, Http2Wire::prefixed(text("abcdefgh")));
  // More than the server's window lets through.
  Http2Wire beyond(port());
  beyond.send_headers(1, {}, false, "/test.Echo/Chat");
  beyond.send_frame(NGHTTP2_DATA, 0, 1, std::string(20'000, 'x'));  // a frame that is too large, besides
  EXPECT_THAT(beyond.reply(1).status(), StartsWith("goaway"));
  expect_alive();
}

TEST_F(GrpcHostile, StreamsOutOfOrder) {
  Http2Wire data(port());
  data.send_frame(NGHTTP2_DATA, 0, 1, "for no call");
  EXPECT_EQ(data.reply(1).status(), "goaway 1");
  Http2Wire even(port());
  even.send_headers(2);
  EXPECT_EQ(even.reply(2).status(), "goaway 1");
  Http2Wire push(port());
  push.send_frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, std::string(4, '\0'));
  EXPECT_THAT(push.reply(1).status(), AnyOf(StartsWith("goaway"), "closed"));
  Http2Wire bad(port());
  bad.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, std::string(100, '\xff'));
  EXPECT_EQ(bad.reply(1).status(), "goaway 9") << "no HPACK";
  Http2Wire missing(port());
  missing.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, Http2Wire::encode({{":method", "POST"}}));
  EXPECT_EQ(missing.reply(1).status(), "reset 1");
  EXPECT_EQ(missing.call(3, text("x")).status(), "0");
  expect_alive();
}

TEST_F(GrpcHostile, EveryPrefixOfARequestMayBeTheLast) {
  std::string request = kPreface + Http2Wire::frame(NGHTTP2_SETTINGS, 0, 0, "");
  request += Http2Wire::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1,
                              Http2Wire::encode(Http2Wire::call_headers({})));
  request += Http2Wire::frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, Http2Wire::prefixed(text("x")));
  for (size_t bytes = 0; bytes < request.size(); ++bytes) {
    Wire wire(port());
    ASSERT_TRUE(wire.send(request.substr(0, bytes)));
  }
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  expect_alive();
}

}  // namespace
}  // namespace nacre
