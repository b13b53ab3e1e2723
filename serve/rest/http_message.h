#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace nacre {

/// A request as it came, whole.
struct HttpRequest {
  std::string method;  ///< "GET", "POST" ...
  std::string target;  ///< path and query, undecoded
  std::string body;
  std::string origin;            ///< of the header Origin
  std::string content_encoding;  ///< of the header Content-Encoding
};

struct HttpReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  ///< more of them
};

/// What an access log says of a request. Text of the client's is as it came.
struct AccessRecord {
  std::string peer;  ///< address, without port
  std::string method;
  std::string target;
  int status = 0;
  size_t request_bytes = 0;
  size_t reply_bytes = 0;
  std::chrono::microseconds latency{0};  ///< from the request's last byte to its reply
};

}  // namespace nacre
