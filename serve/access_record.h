#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

namespace nacre {

/// What an access log says of a request. Text of the client's is as it came.
struct AccessRecord {
  std::string peer;    ///< address, without port
  std::string method;  ///< of HTTP; "gRPC" of a call
  std::string target;  ///< path and query; a call's path
  int status = 0;      ///< of HTTP; of a call its gRPC code, which is 0 when all is well
  size_t request_bytes = 0;
  size_t reply_bytes = 0;
  std::chrono::microseconds latency{0};  ///< from the request's last byte to its reply
};

/// Is told of every request; must not wait. Called from any thread.
using AccessSink = std::function<void(const AccessRecord&)>;

}  // namespace nacre
