#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "engine/status.h"

namespace nacre {

/// What a call came to, by the numbers that gRPC and TensorFlow share.
enum class RpcCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// "OK", "INVALID_ARGUMENT" ...: as status replies and metrics have it.
std::string_view rpc_code_name(RpcCode code);

/// 200, 400 ...: as TensorFlow Serving answers it over HTTP; 499 for kCancelled.
int http_status_of(RpcCode code);

/// Success, or a code and a message for the client. Every transport has its own way of saying it.
class [[nodiscard]] RpcStatus {
 public:
  RpcStatus() = default;
  RpcStatus(RpcCode code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == RpcCode::kOk; }
  [[nodiscard]] RpcCode code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  RpcCode code_ = RpcCode::kOk;
  std::string message_;
};

inline RpcStatus rpc_out_of_memory() {
  return {RpcCode::kResourceExhausted, "out of memory"};
}

/// A value, or the RpcStatus that says why there is none.
template <typename T>
using RpcResult = Result<T, RpcStatus>;

/// Why a version could not be loaded: kCorrupt is DATA_LOSS, kIo UNAVAILABLE, and so on.
RpcStatus rpc_status_of_load(const Status& status);

/// Why an image of a request could not be classified: the client's fault (INVALID_ARGUMENT), but for
/// kInternal and kIo.
RpcStatus rpc_status_of_image(const Status& status);

}  // namespace nacre
