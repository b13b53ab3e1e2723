// libFuzzer target: any bytes as those of a gRPC client's connection, which come in two parts.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/grpc/http2_session.h"

namespace {

/// Keeps replies until the session may take them.
struct Inbox final : nacre::GrpcReplySink {
  void post(nacre::GrpcReply reply) override { replies.push_back(std::move(reply)); }
  std::vector<nacre::GrpcReply> replies;
};

/// Two methods: the one answers with the request, if it can be read, the other talks.
nacre::GrpcMethods make_methods() {
  nacre::GrpcMethods methods;
  methods["/a.B/Call"] = {[](const std::shared_ptr<nacre::GrpcCall>& call) { call->finish({}); }, {}};
  methods["/a.B/Talk"] = {{}, [](std::string_view question, std::string& framed) {
                            framed.append(5, '\0').append(question.substr(0, 100));
                            return nacre::RpcStatus();
                          }};
  return methods;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nacre::GrpcMethods methods = make_methods();
  nacre::ByteBudget budget(size_t{1} << 20);
  nacre::UnsentReplies unsent(size_t{1} << 20);
  const nacre::Http2Session::Limits limits = {.calls = {100'000, &budget, &unsent}};
  const auto inbox = std::make_shared<Inbox>();
  {
    nacre::Http2Session session(methods, limits, inbox, "127.0.0.1");
    std::string text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    text.append(reinterpret_cast<const char*>(data), size);
    const size_t middle = text.size() / 2;
    bool open = true;
    for (const auto part :
         {std::string_view(text).substr(0, middle), std::string_view(text).substr(middle)}) {
      open = open && session.receive(part);
      for (nacre::GrpcReply& reply : std::exchange(inbox->replies, {})) session.take(std::move(reply));
      std::string out;
      open = open && session.fill(out, size_t{64} << 10);
    }
    session.on_time(nacre::ServeClock::now() + std::chrono::hours(1));
    session.go_away();
    std::string out;
    open = open && session.fill(out, size_t{64} << 10);
    session.on_time(nacre::ServeClock::now() + std::chrono::hours(2));
    if (open) static_cast<void>(session.fill(out, size_t{128} << 10));
  }
  inbox->replies.clear();
  if (budget.used() != 0 || inbox->live_calls != 0) std::abort();
  return 0;
}
