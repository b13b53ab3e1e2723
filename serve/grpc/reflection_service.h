#pragma once

#include <grpcpp/grpcpp.h>

#include <mutex>
#include <set>
#include <string>

#include "schemas/grpc/reflection.grpc.pb.h"
#include "serve/grpc/call_threads.h"

namespace nacre {

/// grpc.reflection.v1alpha: tells clients which services there are, and what their messages look like.
/// Answers come from the descriptors that are linked in. Thread-safe.
class ReflectionService {
 public:
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
  using Service = grpc::reflection::v1alpha::ServerReflection::AsyncService;

  /// `services` are their full names.
  explicit ReflectionService(std::set<std::string> services);

  [[nodiscard]] Service& service() { return service_; }
  [[nodiscard]] Response answer(const Request& request) const;
  /// Takes calls from now on.
  void start(CallThreads& threads);
  /// Ends the calls, also those that come later.
  void stop();

 private:
  class Stream;

  const std::set<std::string> services_;
  Service service_;
  std::mutex mutex_;
  std::set<Stream*> streams_;  // guarded by mutex_; those that have come and not ended
  bool stopping_ = false;      // guarded by mutex_
};

}  // namespace nacre
