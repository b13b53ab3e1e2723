#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "serve/rest/http_server.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {

/// More than a connection takes at once.
inline constexpr size_t kLargeReply = size_t{24} << 20;

/// A server that echoes bodies, but holds what is sent to /hold until it is told to go on or its client has
/// gone; /within waits until its thread has answered another request, /dear is for no such thread, and /large
/// says much.
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
        if (!context.answer_another()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (request.target == "/short") short_answered_ = true;
      if (request.target == "/dear" && context.postponed != nullptr) {
        *context.postponed = true;
        ++postponed_;
        return HttpReply();
      }
      HttpReply reply;
      reply.body = request.method + " " + request.body;
      if (request.target == "/large") {
        reply.body.resize(kLargeReply, 'x');
        ++large_replies_;
      }
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
  size_t large_replies() const { return large_replies_; }
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
  std::atomic<size_t> large_replies_{0};
  std::atomic<int> postponed_{0};
  int held_ = 0;
  int cancelled_ = 0;
  std::vector<int> statuses_;
};

}  // namespace nacre
