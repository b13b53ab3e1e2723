#pragma once

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

}  // namespace nacre
