#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "schemas/grpc/health.grpc.pb.h"
#include "serve/grpc/call_threads.h"
#include "serve/rpc_status.h"
#include "serve/serve_core.h"

namespace nacre {

/// grpc.health.v1: what ServeCore::ready() says, of the whole server and of each of its services.
/// Thread-safe.
class HealthService {
 public:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  using Health = grpc::health::v1::Health;
  using Service = Health::WithRawMethod_Check<Health::WithAsyncMethod_Watch<Health::Service>>;

  /// `services` are their full names.
  HealthService(const ServeCore& core, std::set<std::string> services);
  ~HealthService() { stop(); }
  HealthService(const HealthService&) = delete;
  HealthService& operator=(const HealthService&) = delete;

  [[nodiscard]] Service& service() { return service_; }
  /// Check: kNotFound for a service that is not there.
  RpcStatus answer_check(const Request& request, Response& response) const;
  /// Takes calls of Watch from now on.
  void start(CallThreads& threads);
  /// Ends the calls of Watch, also those that come later.
  void stop();

 private:
  class Watch;
  [[nodiscard]] Response::ServingStatus status_of(const std::string& name) const;
  void tell_changes(const std::stop_token& stop);

  const ServeCore& core_;
  const std::set<std::string> services_;
  Service service_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::list<Watch*> watches_;  // guarded by mutex_; those that have come and not ended
  bool stopping_ = false;      // guarded by mutex_
  std::jthread changes_;
};

}  // namespace nacre
