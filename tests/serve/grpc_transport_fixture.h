#pragma once

#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "serve/grpc/grpc_transport.h"
#include "tests/serve/http2_wire.h"

namespace nacre {

/// A GrpcTransport with methods of its own. /test.Echo/Say answers a StringValue with its text; /Hold does so
/// once it is released or its client has gone; /Large says much; /Release lets go of its request
/// and says what is left; /Forget finds no memory; /Chat is a
/// conversation.
class GrpcTransportTest : public testing::Test {
 protected:
  using Text = google::protobuf::StringValue;

  void start() {
    GrpcMethods methods;
    methods["/test.Echo/Say"] =
        in_order([](const Text& text, Text& answer, const CallContext&) { answer.set_value(text.value()); });
    methods["/test.Echo/Hold"] = in_order([this](const Text& text, Text& answer, const CallContext& context) {
      ++held_;
      while (!released_ && !context.cancelled.stop_requested())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (context.cancelled.stop_requested()) ++cancelled_;
      answer.set_value(text.value());
    });
    methods["/test.Echo/Large"] = in_order([this](const Text&, Text& answer, const CallContext&) {
      answer.mutable_value()->resize(kLargeReply, 'x');
      ++large_replies_;
    });
    methods["/test.Echo/Release"] = {[](const std::shared_ptr<GrpcCall>& call) {
                                       call->release_request();
                                       Text answer;
                                       answer.set_value(std::to_string(call->request().bytes.capacity()));
                                       call->finish({}, &answer);
                                     },
                                     {}};
    methods["/test.Echo/Forget"] = {[](const std::shared_ptr<GrpcCall>&) { throw std::bad_alloc(); }, {}};
    methods["/test.Echo/Chat"] = {
        {}, [](std::string_view question, std::string& framed) {
          Text text;
          if (!text.ParseFromArray(question.data(), static_cast<int>(question.size())))
            return RpcStatus(RpcCode::kInternal, "no text");
          if (text.value() == "forget") throw std::bad_alloc();
          if (text.value() == "much") text.mutable_value()->resize(100'000, 'y');
          return frame_message(text, framed);
        }};
    server_.reset();
    threads_ = std::make_unique<AnswerThreads>(AnswerThreads::Options{.at_once = at_once_});
    options_.address = "127.0.0.1";
    auto started = GrpcTransport::start(options_, std::move(methods), *threads_);
    ASSERT_TRUE(started.ok()) << started.status().message();
    server_ = std::move(*started);
  }
  void SetUp() override { start(); }
  void TearDown() override {
    released_ = true;
    server_.reset();
  }

  static std::string text(const std::string& value) {
    Text message;
    message.set_value(value);
    return message.SerializeAsString();
  }
  [[nodiscard]] uint16_t port() const { return server_->port(); }
  /// The server still answers.
  void expect_alive() const {
    Http2Wire other(port());
    EXPECT_EQ(other.call(1, text("alive")).body, Http2Wire::prefixed(text("alive")));
  }

  static constexpr size_t kLargeReply = size_t{4} << 20;

  size_t at_once_ = 2;
  GrpcTransport::Options options_;
  std::unique_ptr<AnswerThreads> threads_;
  std::unique_ptr<GrpcTransport> server_;
  std::atomic<bool> released_{false};
  std::atomic<int> held_{0};
  std::atomic<int> cancelled_{0};
  std::atomic<size_t> large_replies_{0};

 private:
  template <typename Answer>
  GrpcMethod in_order(Answer answer) {
    return {[this, answer](const std::shared_ptr<GrpcCall>& call) {
              const bool taken = threads_->submit({[call, answer] {
                Text request;
                Text response;
                RpcStatus status = call->decode(request);
                if (status.ok()) answer(request, response, call->context({}, nullptr));
                call->finish(std::move(status), &response);
              }});
              if (!taken) call->finish({RpcCode::kResourceExhausted, "too many wait"});
            },
            {}};
  }
};

}  // namespace nacre
