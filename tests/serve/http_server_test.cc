#include "serve/rest/http_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// More than a connection takes at once.
constexpr size_t kLargeReply = size_t{24} << 20;

/// A server that echoes bodies, but holds what is sent to /hold until it is told to go on or its client has
/// gone; /within waits until its thread has answered another request, and /large says much.
class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    options_.address = "127.0.0.1";
    options_.threads = 2;
    options_.limits.max_header_bytes = 4096;
    options_.limits.max_body_bytes = 100'000;
  }

  void start() {
    HttpServer::Handlers handlers;
    handlers.is_quick = [](const HttpRequest& request) { return request.method == "GET"; };
    handlers.handle = [this](const HttpRequest& request, const CallContext& context) {
      if (request.target == "/hold") hold(context);
      while (request.target == "/within" && !short_answered_)
        if (!context.answer_another()) std::this_thread::sleep_for(milliseconds(1));
      if (request.target == "/short") short_answered_ = true;
      HttpReply reply;
      reply.body = request.method + " " + request.body;
      if (request.target == "/large") reply.body.resize(kLargeReply, 'x');
      return reply;
    };
    handlers.fail = [](int status, const std::string& message) {
      HttpReply reply;
      reply.status = status;
      reply.body = message;
      return reply;
    };
    handlers.access = [this](const AccessRecord& record) {
      const std::lock_guard lock(mutex_);
      statuses_.push_back(record.status);
    };
    auto started = HttpServer::start(options_, std::move(handlers));
    ASSERT_TRUE(started.ok()) << started.status().message();
    server_ = std::move(started).value();
  }

  void hold(const CallContext& context) {
    std::unique_lock lock(mutex_);
    ++held_;
    go_on_.wait(lock, context.cancelled, [this] { return released_; });
    if (!released_) ++cancelled_;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    go_on_.notify_all();
  }
  int held() {
    const std::lock_guard lock(mutex_);
    return held_;
  }
  int cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  std::vector<int> statuses() {
    const std::lock_guard lock(mutex_);
    return statuses_;
  }
  void TearDown() override {
    release();
    server_.reset();
  }

  HttpServer::Options options_;
  std::unique_ptr<HttpServer> server_;
  std::mutex mutex_;
  std::condition_variable_any go_on_;
  bool released_ = false;
  std::atomic<bool> short_answered_{false};
  int held_ = 0;
  int cancelled_ = 0;
  std::vector<int> statuses_;
};

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

TEST_F(HttpServerTest, ALongReplyGoesAsItIsTaken) {
  options_.threads = 1;
  start();
  Wire slow(server_->port());
  slow.send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(Wire(server_->port()).ask("POST", "/", "x").body, "POST x");
  EXPECT_EQ(slow.receive().body.size(), kLargeReply);
  EXPECT_EQ(slow.ask("POST", "/", "y").body, "POST y");
}

TEST_F(HttpServerTest, WhoDoesNotTakeTheReplyIsCutOff) {
  options_.limits.send = milliseconds(100);
  start();
  Wire wire(server_->port());
  wire.send("POST /large HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return server_->connections() == 1; }));
  EXPECT_TRUE(eventually([&] { return server_->connections() == 0; }));
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

TEST_F(HttpServerTest, DrainsWhatIsInHand) {
  start();
  Wire idle(server_->port());
  ASSERT_EQ(idle.ask("GET", "/").status, 200);
  Wire working(server_->port());
  working.send("POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  std::atomic<bool> drained{false};
  std::jthread drainer([&] {
    server_->drain(ServeClock::now() + std::chrono::seconds(20));
    drained = true;
  });
  EXPECT_TRUE(idle.closes_within(milliseconds(5000)));
  EXPECT_FALSE(Wire(server_->port()).ask("GET", "/").status != 0) << "takes no more";
  EXPECT_FALSE(drained);
  release();
  const WireReply reply = working.receive();
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
  working.close();
  drainer.join();
  EXPECT_TRUE(drained);
}

TEST_F(HttpServerTest, DrainsNoLongerThanItsDeadline) {
  start();
  Wire working(server_->port());
  working.send("POST /hold HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return held() == 1; }));
  server_->drain(ServeClock::now() + milliseconds(20));
  EXPECT_EQ(server_->connections(), 1U);
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
