#pragma once

#include <set>
#include <string>
#include <string_view>

#include "schemas/grpc/reflection.pb.h"
#include "serve/rpc_status.h"

namespace nacre {

/// grpc.reflection.v1alpha: tells clients which services there are, and what their messages look like.
/// Answers come from the descriptors that are linked in. Thread-safe.
class ReflectionService {
 public:
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;

  /// `services` are their full names.
  explicit ReflectionService(std::set<std::string> services);

  [[nodiscard]] Response answer(const Request& request) const;
  /// GrpcMethod::converse of its method.
  RpcStatus converse(std::string_view question, std::string& framed) const;

 private:
  const std::set<std::string> services_;
};

}  // namespace nacre
