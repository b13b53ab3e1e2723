#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "serve/answer_threads.h"
#include "serve/grpc/grpc_call.h"
#include "serve/grpc/prediction.h"
#include "serve/serve_core.h"
#include "serve/worker_pool.h"

namespace nacre {

/// When a call is answered.
enum class Turn : uint8_t {
  kAtOnce,   ///< it waits for nothing, so it passes those that do
  kInOrder,  ///< it computes
  kSlow,     ///< it waits for more than a CPU
};

/// Answers calls, and counts those that compute. Thread-safe.
class Dispatcher {
 public:
  struct Options {
    size_t threads = 1;         ///< calls that are answered at the same time
    size_t max_waiting = 1024;  ///< calls that wait for one of those
  };
  Dispatcher(ServeCore& core, const Options& options)
      : core_(core),
        threads_({.at_once = options.threads, .max_waiting = options.max_waiting, .waiting = &core.waiting}),
        slow_(1, kMaxSlow) {}

  [[nodiscard]] ServeCore& core() const { return core_; }
  [[nodiscard]] AnswerThreads& threads() { return threads_; }

  /// A method whose calls `answer(request, context, response, subject)` answers by filling the response;
  /// those in order are counted as calls of `api`.
  template <typename Request, typename Response, typename Answer>
  GrpcMethod method(Turn turn, std::string_view api, Answer answer) {
    // The method outlives its calls.
    const auto shared = std::make_shared<const Answer>(std::move(answer));
    return {[this, turn, api, shared](const std::shared_ptr<GrpcCall>& call) {
              take<Request, Response>(call, turn, api, *shared);
            },
            {}};
  }

 private:
  /// Of a call that may be answered within another.
  static constexpr size_t kShortBytes = size_t{64} << 10;
  /// Calls that may wait for others of their kind that are slow.
  static constexpr size_t kMaxSlow = 16;

  template <typename Request, typename Response, typename Answer>
  void take(const std::shared_ptr<GrpcCall>& call, Turn turn, std::string_view api, const Answer& answer) {
    const ServeClock::time_point begun = ServeClock::now();
    const bool is_short =
        turn == Turn::kInOrder && call->request().bytes.size() <= kShortBytes && !call->request().compressed;
    const size_t kind = is_short ? kind_of(call->request().bytes) : 0;
    const auto run_it = [this, call, api, begun, kind, &answer] {
      run<Request, Response>(call, api, begun, kind, answer);
    };
    const bool taken = turn == Turn::kSlow ? slow_.submit(run_it)
                                           : threads_.submit({run_it, is_short, turn == Turn::kAtOnce, kind});
    if (taken) return;
    const RpcStatus refused{RpcCode::kResourceExhausted, "too many calls wait"};
    count(api, begun, {}, refused);
    call->finish(refused);
  }

  /// Throws nothing.
  template <typename Request, typename Response, typename Answer>
  void run(const std::shared_ptr<GrpcCall>& call, std::string_view api, ServeClock::time_point begun,
           size_t kind, const Answer& answer) {
    CallSubject subject;
    RpcStatus status;
    try {
      const bool nested = CallContext::is_nested();
      bool postponed = false;
      const CallContext context = call->context(
          [this, kind](bool alike) {
            return threads_.answer_another(alike ? std::optional(kind) : std::nullopt);
          },
          nested ? &postponed : nullptr);
      Request request;
      Response response;
      status = context.check();
      if (status.ok()) status = call->decode(request);
      if (!nested) call->release_request();  // else it may be postponed, and decoded again
      if (status.ok()) status = answer(request, context, response, subject);
      if (postponed) {
        return threads_.submit_again([this, call, api, begun, kind, &answer] {
          run<Request, Response>(call, api, begun, kind, answer);
        });
      }
      count(api, begun, subject, status);
      return call->finish(std::move(status), &response);
    } catch (const std::bad_alloc&) {
      status = rpc_out_of_memory();
    }
    count(api, begun, subject, status);
    call->finish(std::move(status));
  }
  void count(std::string_view api, ServeClock::time_point begun, const CallSubject& subject,
             const RpcStatus& status) const {
    const auto latency = std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun);
    try {
      if (!api.empty())
        core_.metrics.count_call({"GRPC", api}, subject.model, subject.signature, status.code(), latency);
    } catch (const std::bad_alloc&) {  // the answer matters more
    }
  }

  /// Equal for requests that begin with the same ModelSpec, which is the first field of those that compute.
  static size_t kind_of(std::string_view request) {
    constexpr char kFirstField = 0x0a;  // with a length, which is a byte where it is below 128
    if (request.size() < 2 || request[0] != kFirstField || (request[1] & 0x80) != 0) return 0;
    return std::hash<std::string_view>()(request.substr(0, 2 + static_cast<size_t>(request[1])));
  }

  ServeCore& core_;
  AnswerThreads threads_;
  WorkerPool slow_;
};

}  // namespace nacre
