// The end of an HttpServer: what is answered still, and how long that takes.
#include <gmock/gmock.h>

#include <array>
#include <string>

#include "tests/serve/http_server_fixture.h"

namespace nacre {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kHold = "POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

class HttpDrain : public HttpServerTest {
 protected:
  /// Returns once no new connections are taken.
  void begin_drain(milliseconds time = std::chrono::seconds(20)) {
    drainer_ = std::jthread([this, time] {
      server_->drain(ServeClock::now() + time);
      drained_ = true;
    });
    EXPECT_TRUE(eventually([&] { return !Wire(server_->port()).connected(); }));
  }
  void TearDown() override {
    release();
    if (drainer_.joinable()) drainer_.join();
    HttpServerTest::TearDown();
  }

  std::atomic<bool> drained_{false};
  std::jthread drainer_;
};

TEST_F(HttpDrain, FinishesWhatIsInHand) {
  start();
  Wire idle(server_->port());
  ASSERT_EQ(idle.ask("GET", "/").status, 200);
  Wire working(server_->port());
  working.send(kHold);
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  begin_drain();
  EXPECT_TRUE(idle.closes_within(milliseconds(5000)));
  EXPECT_FALSE(drained_);
  release();
  const WireReply reply = working.receive();
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
  working.close();
  drainer_.join();
  EXPECT_TRUE(drained_);
}

TEST_F(HttpDrain, TakesNoLongerThanItsDeadline) {
  start();
  Wire working(server_->port());
  working.send(kHold);
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  server_->drain(ServeClock::now() + milliseconds(20));
  EXPECT_EQ(server_->connections(), 1U);
}

TEST_F(HttpDrain, AnswersWhatComesWhileConnectionsAreOpen) {
  options_.limits.drain_grace = std::chrono::seconds(20);
  start();
  Wire used(server_->port());
  ASSERT_EQ(used.ask("GET", "/").status, 200);
  Wire fresh(server_->port());
  ASSERT_TRUE(eventually([&] { return server_->connections() == 2; }));
  begin_drain();
  for (Wire* wire : {&used, &fresh}) {
    const WireReply reply = wire->ask("POST", "/", "late");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "POST late");
    EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(wire->closes_within(milliseconds(5000)));
    wire->close();
  }
  drainer_.join();
  EXPECT_EQ(server_->connections(), 0U);
}

/// Also while connections that are being made are waited for, which takes a tenth of a second.
TEST_F(HttpDrain, EveryReplySaysSoFromTheStart) {
  auto least = ServeClock::duration::max();
  for (int attempt = 0; attempt < 5 && least > milliseconds(60); ++attempt) {
    start();
    Wire wire(server_->port());
    ASSERT_EQ(wire.ask("GET", "/").status, 200);
    const auto begun = ServeClock::now();
    drainer_ = std::jthread([this] { server_->drain(ServeClock::now() + std::chrono::seconds(20)); });
    const auto says_so = [&] {
      return wire.ask("GET", "/").head.find("Connection: close\r\n") != std::string::npos;
    };
    EXPECT_TRUE(eventually(says_so));
    least = std::min(least, ServeClock::now() - begun);
    wire.close();
    drainer_.join();
  }
  EXPECT_LT(least, milliseconds(60));
}

TEST_F(HttpDrain, WhoWasToldThatItMayGoOnMay) {
  options_.limits.drain_grace = std::chrono::seconds(20);
  start();
  Wire slow(server_->port());
  slow.send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return large_replies() == 1; }));
  std::string head;
  while (!head.ends_with("\r\n\r\n") && head.size() < 1000) head += slow.read(1);
  EXPECT_THAT(head, Not(HasSubstr("close")));
  begin_drain();
  EXPECT_EQ(slow.read(kLargeReply).size(), kLargeReply);
  const WireReply reply = slow.ask("POST", "/", "next");
  EXPECT_EQ(reply.body, "POST next");
  EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
}

TEST_F(HttpDrain, EverybodyWhoseConnectionWasTakenIsAnswered) {
  options_.limits.drain_grace = std::chrono::seconds(20);
  for (int round = 0; round < 3; ++round) {
    start();
    std::atomic<int> good{0};
    std::atomic<int> lost{0};
    std::vector<std::jthread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&] {
        while (true) {
          Wire wire(server_->port());
          if (!wire.connected()) return;
          for (bool open = true; open;) {
            const WireReply reply = wire.ask("POST", "/", "x");
            reply.body == "POST x" ? ++good : ++lost;
            open = reply.status == 200 && good % 2 != 0 &&
                   reply.head.find("Connection: close") == std::string::npos;
          }
        }
      });
    }
    EXPECT_TRUE(eventually([&] { return good > 50; }));
    begin_drain();
    clients.clear();
    drainer_.join();
    EXPECT_EQ(lost, 0);
    EXPECT_EQ(server_->connections(), 0U);
  }
}

TEST_F(HttpDrain, ConnectionsThatAreSilentDoNotHoldItUp) {
  start();
  const std::array<Wire, 3> silent{Wire(server_->port()), Wire(server_->port()), Wire(server_->port())};
  ASSERT_TRUE(eventually([&] { return server_->connections() == 3; }));
  const auto begun = ServeClock::now();
  server_->drain(begun + std::chrono::seconds(20));
  EXPECT_LT(ServeClock::now() - begun, std::chrono::seconds(10));
  EXPECT_EQ(server_->connections(), 0U);
}

}  // namespace
}  // namespace nacre
