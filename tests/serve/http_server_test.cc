#include "serve/rest/http_server.h"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/serve/http_server_fixture.h"

namespace nacre {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(HttpServerTest, AnswersOneAfterTheOtherOnOneConnection) {
  start();
  Wire wire(server_->port());
  EXPECT_EQ(wire.ask("GET", "/").body, "GET ");
  EXPECT_EQ(wire.ask("POST", "/", "abc").body, "POST abc");
  ASSERT_TRUE(
      wire.send("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1"
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n2\r\n2\r\n34\r\n0\r\n\r\n"
                "GET / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(wire.receive().body, "POST 1");
  EXPECT_EQ(wire.receive().body, "POST 234");
  EXPECT_EQ(wire.receive().body, "GET ");
  const WireReply last = wire.ask("GET", "/", "", "Connection: close\r\n");
  EXPECT_THAT(last.head, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(wire.closes_within(milliseconds(5000)));
}

TEST_F(HttpServerTest, TellsOldClientsThatTheConnectionStays) {
  start();
  Wire wire(server_->port());
  ASSERT_TRUE(wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_THAT(wire.receive().head, HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_EQ(wire.ask("GET", "/").body, "GET ");
  ASSERT_TRUE(wire.send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(wire.receive().head, HasSubstr("Connection: close\r\n"));
}

TEST_F(HttpServerTest, TakesALongRequestInTurns) {
  options_.limits.max_body_bytes = size_t{8} << 20;
  start();
  const std::string body(size_t{5} << 20, 'x');
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      Wire wire(server_->port());
      for (int turn = 0; turn < 3; ++turn)
        EXPECT_EQ(wire.ask("POST", "/", body).body.size(), body.size() + 5);
    });
  }
}

TEST_F(HttpServerTest, TakesARequestByteByByte) {
  start();
  Wire wire(server_->port());
  for (const char byte : std::string_view("POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")) {
    ASSERT_TRUE(wire.send({&byte, 1}));
  }
  EXPECT_EQ(wire.receive().body, "POST hello");
}

TEST_F(HttpServerTest, SaysGoOnWhenAsked) {
  start();
  Wire wire(server_->port());
  ASSERT_TRUE(wire.send("POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(wire.receive(true).status, 100);
  ASSERT_TRUE(wire.send("ok"));
  EXPECT_EQ(wire.receive().body, "POST ok");
  EXPECT_EQ(wire.ask("POST", "/", "1", "Expect: the moon\r\n").status, 417);
}

TEST_F(HttpServerTest, RefusesWhatIsNoRequest) {
  start();
  const std::vector<std::pair<std::string, int>> cases = {
      {"hello\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", 400},
      // Declared a terabyte, and chunks that add up to too much.
      {"POST / HTTP/1.1\r\nContent-Length: 1099511627776\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000\r\n", 413},
      // Headers without an end.
      {"GET / HTTP/1.1\r\nX: " + std::string(200'000, 'a'), 431},
      {"GET /" + std::string(200'000, 'a'), 431},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(200'000, 'a'), 400},
  };
  for (const auto& [request, status] : cases) {
    Wire wire(server_->port());
    SCOPED_TRACE(request.substr(0, 100));
    wire.send(request);  // may be cut off
    const WireReply reply = wire.receive();
    EXPECT_EQ(reply.status, status) << reply.body;
    EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
    wire.finish_sending();
    EXPECT_TRUE(wire.closes_within(milliseconds(5000)));
  }
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 1000; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  Wire wire(server_->port());
  wire.send(many + "\r\n");
  EXPECT_EQ(wire.receive().status, 431);
  EXPECT_EQ(Wire(server_->port()).ask("GET", "/").status, 200) << "others go on";
}

TEST_F(HttpServerTest, WorkIsDroppedWhenTheClientVanishes) {
  start();
  {
    Wire wire(server_->port());
    wire.send("POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return held() == 1; }));
    EXPECT_EQ(cancelled(), 0);
  }
  EXPECT_TRUE(eventually([&] { return cancelled() == 1; }));
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
  EXPECT_THAT(statuses(), ElementsAre(499));
}

TEST_F(HttpServerTest, APipelinedRequestIsNoVanishedClient) {
  start();
  Wire wire(server_->port());
  wire.send("POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  wire.send("GET / HTTP/1.1\r\n\r\n");
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(cancelled(), 0);
  release();
  EXPECT_EQ(wire.receive().body, "POST ");
  EXPECT_EQ(wire.receive().body, "GET ");
}

TEST_F(HttpServerTest, AThreadThatWaitsMayAnswerAnotherShortRequest) {
  options_.threads = 1;
  start();
  Wire outer(server_->port());
  outer.send("POST /within HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  Wire large(server_->port());
  const std::string body(90'000, 'b');
  large.send("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_THAT(statuses(), ElementsAre()) << "a long one waits for its turn";
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/short", "x").body, "POST x");
  EXPECT_EQ(outer.receive().body, "POST ");
  EXPECT_EQ(large.receive().body, "POST " + body);
}

TEST_F(HttpServerTest, WhatWouldHoldUpAnotherRequestIsAnsweredAfterIt) {
  options_.threads = 1;
  start();
  Wire outer(server_->port());
  outer.send("POST /within HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  std::this_thread::sleep_for(milliseconds(10));
  Wire dear(server_->port());
  dear.send("POST /dear HTTP/1.1\r\nContent-Length: 1\r\n\r\nd");
  ASSERT_TRUE(eventually([&] { return postponed_ == 1; }));
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/short", "x").body, "POST x");
  EXPECT_EQ(outer.receive().body, "POST ");
  EXPECT_EQ(dear.receive().body, "POST d");
  EXPECT_EQ(postponed_, 1);
}

TEST_F(HttpServerTest, ALongReplyGoesAsItIsTaken) {
  options_.threads = 1;
  start();
  Wire slow(server_->port());
  slow.send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", "x").body, "POST x");
  EXPECT_EQ(slow.receive().body.size(), kLargeReply);
  EXPECT_EQ(slow.ask("POST", "/", "y").body, "POST y");
}

TEST_F(HttpServerTest, ManyConnectionsAtOnceGetTheirOwnReplies) {
  options_.threads = 3;
  start();
  std::atomic<int> wrong{0};
  std::vector<std::jthread> clients;
  for (int c = 0; c < 12; ++c) {
    clients.emplace_back([&, c] {
      Wire wire(server_->port());
      for (int i = 0; i < 150; ++i) {
        const std::string body = std::to_string(1000 * c + i);
        if (wire.ask("POST", "/", body).body != "POST " + body) ++wrong;
      }
    });
  }
  clients.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(HttpServerStart, SaysWhyItCannotListen) {
  HttpServer::Options options;
  options.address = "nowhere";
  EXPECT_EQ(HttpServer::start(options, {}).status().message(), "nowhere: expected an IP address");
  options.address = "127.0.0.1";
  auto first = HttpServer::start(options, {});
  ASSERT_TRUE(first.ok());
  options.port = (*first)->port();
  const Status taken = HttpServer::start(options, {}).status();
  EXPECT_EQ(taken.code(), StatusCode::kIo);
  EXPECT_THAT(taken.message(), HasSubstr(": Address already in use"));
}

}  // namespace
}  // namespace nacre
