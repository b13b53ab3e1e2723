#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "schemas/grpc/health.pb.h"
#include "serve/grpc/grpc_call.h"
#include "serve/rpc_status.h"
#include "serve/serve_core.h"

namespace nacre {

/// grpc.health.v1: what ServeCore::ready() says, of the whole server and of each of its services.
/// Thread-safe.
class HealthService {
 public:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;

  /// `services` are their full names.
  HealthService(const ServeCore& core, std::set<std::string> services);
  ~HealthService() { stop(); }
  HealthService(const HealthService&) = delete;
  HealthService& operator=(const HealthService&) = delete;

  /// Check: kNotFound for a service that is not there.
  RpcStatus answer_check(const Request& request, Response& response) const;
  /// Watch: tells how things are, now and whenever they change, until the client goes. Not for a thread that
  /// is at work on a connection.
  void watch(const std::shared_ptr<GrpcCall>& call);
  /// Ends the calls of Watch, also those that come later.
  void stop();

 private:
  struct Watch {
    std::shared_ptr<GrpcCall> call;
    const std::string* service = nullptr;  ///< one of services_; null: unknown, of which nothing is kept
    std::optional<Response::ServingStatus> told;
  };
  /// The service of that name, null when there is none.
  [[nodiscard]] const std::string* find(const std::string& name) const;
  [[nodiscard]] Response::ServingStatus status_of(const std::string* service) const;
  void tell(Watch& watch) const;
  void tell_changes(const std::stop_token& stop);

  const ServeCore& core_;
  std::set<std::string> services_;  ///< and "", the whole server
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::list<Watch> watches_;  // guarded by mutex_
  bool stopping_ = false;     // guarded by mutex_
  std::jthread changes_;
};

}  // namespace nacre
