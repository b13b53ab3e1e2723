// The end of a GrpcTransport: GOAWAY once to say so, and once more when it is known which call was the last.
#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/serve/grpc_transport_fixture.h"

namespace nacre {
namespace {

using std::chrono::seconds;

constexpr const char* kNotice = "2147483647 0";

class GrpcDrain : public GrpcTransportTest {
 protected:
  /// One whose clients are waited for.
  void SetUp() override {
    options_.limits.goaway_grace = seconds(60);
    start();
  }
  void TearDown() override {
    released_ = true;
    if (drainer_.joinable()) drainer_.join();
    GrpcTransportTest::TearDown();
  }
  void begin_drain() {
    drainer_ = std::jthread([this] { server_->drain(ServeClock::now() + seconds(20)); });
  }

  std::jthread drainer_;
};

TEST_F(GrpcDrain, TheEndIsTold) {
  Http2Wire wire(port());
  wire.send_headers(1, {}, false, "/test.Echo/Hold");
  wire.send_message(1, text("held"));
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  Http2Wire chat(port());
  chat.send_headers(1, {}, false, "/test.Echo/Chat");
  chat.send_message(1, text("hello"), false);
  Http2Wire idle(port());
  EXPECT_EQ(idle.call(1, text("x")).status(), "0");
  begin_drain();
  EXPECT_EQ(chat.reply(1).status(), "14 the server stops");
  chat.wire().close();
  EXPECT_EQ(idle.read_frame().goaway(), kNotice);
  idle.echo();
  EXPECT_EQ(idle.read_frame().goaway(), "1 0");
  EXPECT_EQ(idle.read_frame().type, -1);
  idle.wire().close();
  EXPECT_EQ(wire.read_goaway(), kNotice);
  wire.echo();
  EXPECT_EQ(wire.read_goaway(), "1 0");
  released_ = true;
  EXPECT_EQ(wire.reply(1).status(), "0") << "who was being answered still is";
  wire.wire().close();
  drainer_.join();
  EXPECT_FALSE(Wire(port()).connected());
}

TEST_F(GrpcDrain, CallsThatCrossTheNewsAreAnswered) {
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, text("x")).status(), "0");
  begin_drain();
  EXPECT_EQ(wire.read_goaway(), kNotice);
  wire.send_headers(3, {}, false, "/test.Echo/Hold");
  wire.send_message(3, text("crosses"));
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  wire.send_headers(5, {}, false, "/test.Echo/Say");
  wire.echo();
  wire.send_message(5, text("has begun"));
  wire.send_headers(7, {}, false, "/test.Echo/Say");
  wire.send_message(7, text("ought to know"));
  EXPECT_EQ(wire.read_goaway(), "5 0");
  released_ = true;
  EXPECT_EQ(wire.reply(3).status(), "0");
  EXPECT_EQ(wire.reply(5).status(), "0");
  wire.wire().close();
  drainer_.join();
}

TEST_F(GrpcDrain, AConnectionThatHasJustBegunIsAnswered) {
  Http2Wire wire(port(), false);
  ASSERT_TRUE(wire.wire().connected());
  begin_drain();
  EXPECT_TRUE(eventually([&] { return !Wire(port()).connected(); }));
  wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  wire.send_frame(NGHTTP2_SETTINGS, 0, 0, "");
  EXPECT_EQ(wire.call(1, text("first")).body, Http2Wire::prefixed(text("first")));
}

TEST_F(GrpcDrain, ConversationsThatCrossTheNewsEnd) {
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, text("x")).status(), "0");
  begin_drain();
  EXPECT_EQ(wire.read_goaway(), kNotice);
  wire.send_headers(3, {}, false, "/test.Echo/Chat");
  wire.echo();
  EXPECT_EQ(wire.reply(3).status(), "14 the server stops");
}

TEST_F(GrpcDrain, WhoDoesNotAnswerDoesNotHoldItUp) {
  options_.limits.goaway_grace = std::chrono::milliseconds(50);
  start();
  Http2Wire wire(port());
  EXPECT_EQ(wire.call(1, text("x")).status(), "0");
  Http2Wire silent(port(), false);
  ASSERT_TRUE(eventually([&] { return server_->connections() == 2; }));
  const auto begun = ServeClock::now();
  server_->drain(begun + seconds(20));
  EXPECT_LT(ServeClock::now() - begun, seconds(10));
  EXPECT_EQ(server_->connections(), 0U);
  EXPECT_EQ(wire.read_goaway(), kNotice);
  EXPECT_EQ(wire.read_goaway(), "1 0");
}

}  // namespace
}  // namespace nacre
