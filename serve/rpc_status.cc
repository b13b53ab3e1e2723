#include "serve/rpc_status.h"

#include <array>

namespace nacre {
namespace {

struct CodeFacts {
  std::string_view name;
  int http = 500;
};

// By code.
constexpr std::array<CodeFacts, 17> kCodes = {{
    {"OK", 200},
    {"CANCELLED", 499},
    {"UNKNOWN", 500},
    {"INVALID_ARGUMENT", 400},
    {"DEADLINE_EXCEEDED", 504},
    {"NOT_FOUND", 404},
    {"ALREADY_EXISTS", 409},
    {"PERMISSION_DENIED", 403},
    {"RESOURCE_EXHAUSTED", 429},
    {"FAILED_PRECONDITION", 400},
    {"ABORTED", 409},
    {"OUT_OF_RANGE", 400},
    {"UNIMPLEMENTED", 501},
    {"INTERNAL", 500},
    {"UNAVAILABLE", 503},
    {"DATA_LOSS", 500},
    {"UNAUTHENTICATED", 401},
}};

}  // namespace

std::string_view rpc_code_name(RpcCode code) {
  return kCodes.at(static_cast<size_t>(code)).name;
}

int http_status_of(RpcCode code) {
  return kCodes.at(static_cast<size_t>(code)).http;
}

RpcStatus rpc_status_of_load(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return {};
    case StatusCode::kUsage:
    case StatusCode::kBadData:
      return {RpcCode::kInvalidArgument, status.message()};
    case StatusCode::kCorrupt:
    case StatusCode::kDiverged:
      return {RpcCode::kDataLoss, status.message()};
    case StatusCode::kUnsupported:
      return {RpcCode::kUnimplemented, status.message()};
    case StatusCode::kLimit:
      return {RpcCode::kResourceExhausted, status.message()};
    case StatusCode::kIo:
    case StatusCode::kLocked:
      return {RpcCode::kUnavailable, status.message()};
    case StatusCode::kInternal:
    case StatusCode::kInterrupted:
    case StatusCode::kTerminated:
      break;
  }
  return {RpcCode::kInternal, status.message()};
}

RpcStatus rpc_status_of_image(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return {};
    case StatusCode::kUsage:
    case StatusCode::kBadData:
    case StatusCode::kCorrupt:
    case StatusCode::kUnsupported:
    case StatusCode::kLimit:
      return {RpcCode::kInvalidArgument, status.message()};
    default:
      return {RpcCode::kInternal, status.message()};
  }
}

}  // namespace nacre
