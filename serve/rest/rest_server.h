#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "serve/access_record.h"
#include "serve/rest/http_server.h"
#include "serve/rest/rest_service.h"
#include "serve/serve_core.h"

namespace nacre {

/// Lines of an access log.
enum class AccessLog { kNone, kText, kJson };

struct RestOptions {
  HttpServer::Options http;
  bool cors = false;
  std::string metrics_path = std::string(kMetricsPath);  ///< of Prometheus's page; empty: there is none
  /// What is made of large bodies while they are answered, of all together; more is 503. Raised to what one
  /// body may need.
  size_t max_decoded_bytes = size_t{1} << 30;
  AccessSink access;  ///< may be empty
};

/// The REST transport: RestService behind an HttpServer.
class RestServer {
 public:
  /// Errors are those of HttpServer::start. `core` must outlive it.
  static Result<std::unique_ptr<RestServer>> start(const RestOptions& options, ServeCore& core);

  [[nodiscard]] uint16_t port() const { return http_->port(); }
  void drain(ServeClock::time_point deadline) { http_->drain(deadline); }

 private:
  /// Bytes that are made of one of a body, at most: content, index, values.
  static constexpr size_t kDecodedFactor = 16;

  RestServer(ServeCore& core, const RestOptions& options)
      : service_(core, options.cors, options.metrics_path, options.http.limits.max_body_bytes,
                 std::max(options.max_decoded_bytes, kDecodedFactor * options.http.limits.max_body_bytes)) {}

  RestService service_;
  std::unique_ptr<HttpServer> http_;
};

/// `127.0.0.1 "POST /v1/models/m:predict" 200 1234 56 789us`: bytes of the request, of the reply, and the
/// time it took; or an object with the same.
std::string access_line(const AccessRecord& record, AccessLog format);

/// What stands where `count` lines are missing from the log: `TIME 12 lines dropped`, or an object with the
/// same.
std::string dropped_access_lines(uint64_t count, AccessLog format);

/// `{"time": "...", "message": "..."}`: a line of the server's own beside an access log of objects.
std::string message_json(std::string_view message);

}  // namespace nacre
