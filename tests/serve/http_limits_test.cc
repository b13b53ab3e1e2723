// What clients may make an HttpServer hold, and for how long.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "tests/serve/http_server_fixture.h"

namespace nacre {
namespace {

using std::chrono::milliseconds;

TEST_F(HttpServerTest, SlowClientsAreCutOffAndHinderNobody) {
  // Time enough to open all of them on a busy machine.
  options_.limits.receive = milliseconds(3000);
  options_.limits.idle = milliseconds(3000);
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit enough{std::max<rlim_t>(files.rlim_cur, 2200), files.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &enough), 0) << "2,200 files must be allowed";
  start();
  std::vector<std::unique_ptr<Wire>> slow;
  for (int i = 0; i < 1000; ++i) {
    slow.push_back(std::make_unique<Wire>(server_->port()));
    ASSERT_TRUE(slow.back()->connected());
    if (i % 2 == 0) slow.back()->send("POST / HTTP/1.1\r\nContent-Le");
  }
  EXPECT_TRUE(eventually([&] { return server_->connections() == 1000; }));
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", "x").body, "POST x");
  EXPECT_EQ(slow[0]->receive().status, 408);
  EXPECT_TRUE(slow[1]->closes_within(milliseconds(10000))) << "an idle one is closed without a word";
  slow.clear();
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, TooManyConnectionsPushOutTheLongestSilentOne) {
  options_.limits.max_connections = 4;
  start();
  std::vector<std::unique_ptr<Wire>> wires;
  for (int i = 0; i < 7; ++i) {
    wires.push_back(std::make_unique<Wire>(server_->port()));
    EXPECT_EQ(wires.back()->ask("GET", "/").status, 200) << i;
    // The client has its reply before the server calls the connection silent.
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(server_->connections(), 4U);
  EXPECT_TRUE(wires[0]->closes_within(milliseconds(5000)));
  EXPECT_EQ(wires[6]->ask("GET", "/").status, 200);
}

TEST_F(HttpServerTest, BoundsTheBytesOfAllBodies) {
  options_.limits.max_buffered_bytes = 50'000;
  start();
  Wire first(server_->port());
  first.send("POST / HTTP/1.1\r\nContent-Length: 40001\r\n\r\n" + std::string(40'000, 'a'));
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", std::string(9000, 'b')).status, 200);
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", std::string(60'000, 'b')).status, 503);
  ASSERT_TRUE(first.send("a"));
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", std::string(49'000, 'b')).status, 200)
      << "there is room again";
}

TEST_F(HttpServerTest, RefusesWhatNoThreadHasTimeFor) {
  options_.threads = 1;
  options_.max_waiting = 1;
  start();
  Wire working(server_->port());
  working.send("POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  Wire waiting(server_->port());
  waiting.send("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  // Which of two comes first is not known before it has been received.
  ASSERT_TRUE(eventually([&] { return Wire(server_->port()).ask("POST", "/").status == 429; }));
  EXPECT_EQ(Wire(server_->port()).ask("GET", "/").status, 200) << "what is quick need not wait";
  release();
  EXPECT_EQ(working.receive().status, 200);
  EXPECT_EQ(waiting.receive().status, 200);
}

TEST_F(HttpServerTest, WhoDoesNotTakeTheReplyIsCutOff) {
  options_.limits.send = milliseconds(100);
  start();
  Wire wire(server_->port());
  wire.send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return server_->connections() == 1; }));
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, RepliesThatNobodyTakesAreBounded) {
  options_.limits.max_unsent_bytes = 2 * kLargeReply + kLargeReply / 2;
  options_.threads = 1;  // a reply waits before the next is made
  start();
  std::vector<std::unique_ptr<Wire>> wires;
  for (size_t i = 0; i < 4; ++i) {
    wires.push_back(std::make_unique<Wire>(server_->port()));
    wires.back()->send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return large_replies() == i + 1; }));
  }
  EXPECT_TRUE(eventually([&] { return server_->connections() == 2; }));
  EXPECT_EQ(wires[0]->receive().status, 0) << "the first two have been at it for longest";
  EXPECT_EQ(wires[1]->receive().status, 0);
  EXPECT_EQ(wires[2]->receive().body.size(), kLargeReply);
  EXPECT_EQ(wires[3]->receive().body.size(), kLargeReply);
  // What has been taken does not count any more, and who is alone may have more.
  options_.limits.max_unsent_bytes = 1;
  start();
  Wire alone(server_->port());
  EXPECT_EQ(alone.ask("POST", "/large").body.size(), kLargeReply);
  EXPECT_EQ(alone.ask("POST", "/large").body.size(), kLargeReply);
}

TEST_F(HttpServerTest, OutlivesTheEndOfDescriptors) {
  start();
  Wire old(server_->port());
  ASSERT_EQ(old.ask("GET", "/").status, 200);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(next, 0);
  rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(next) + 10;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<int> taken = {next};
  for (int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); fd >= 0;
       fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) {
    taken.push_back(fd);
  }
  close(taken.back());
  taken.pop_back();
  Wire refused(server_->port());  // takes the last one, so that the server has none for its end
  ASSERT_TRUE(refused.connected());
  ASSERT_TRUE(refused.send("GET / HTTP/1.1\r\n\r\n"));
  // The server gives up the connection that has been silent for longest.
  EXPECT_EQ(refused.receive().status, 200);
  EXPECT_TRUE(old.closes_within(milliseconds(5000)));
  for (const int fd : taken) close(fd);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(Wire(server_->port()).ask("GET", "/").status, 200);
}

}  // namespace
}  // namespace nacre
