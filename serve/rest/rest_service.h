#pragma once

#include <string>
#include <utility>

#include "serve/byte_budget.h"
#include "serve/call_context.h"
#include "serve/rest/http_message.h"
#include "serve/rest/route.h"
#include "serve/serve_core.h"

namespace nacre {

/// Answers REST requests: TensorFlow Serving's routes, CloudML's predict, Prometheus's page and KServe's
/// health. Knows no socket. Thread-safe.
class RestService {
 public:
  /// `core` must outlive it. With `cors`, pages of any origin may read the replies. Prometheus's page is at
  /// `metrics_path`, nowhere when that is empty. A body that comes compressed may hold `max_body_bytes`; what
  /// is made of large bodies while they are answered may take `max_decoded_bytes`, of all together.
  RestService(ServeCore& core, bool cors, std::string metrics_path, size_t max_body_bytes,
              size_t max_decoded_bytes)
      : core_(core),
        cors_(cors),
        metrics_path_(std::move(metrics_path)),
        max_body_bytes_(max_body_bytes),
        decoded_(max_decoded_bytes) {}

  [[nodiscard]] HttpReply handle(const HttpRequest& request, const CallContext& context) const;
  /// True for what computes nothing and reads no long body.
  [[nodiscard]] static bool is_quick(const HttpRequest& request);
  /// {"error": message}
  [[nodiscard]] HttpReply fail(int status, const std::string& message) const;

 private:
  [[nodiscard]] RpcResult<HttpReply> answer(const Route& route, const HttpRequest& request,
                                            const CallContext& context) const;
  [[nodiscard]] RpcResult<HttpReply> infer(const Route& route, const HttpRequest& request,
                                           const CallContext& context) const;

  ServeCore& core_;
  bool cors_;
  std::string metrics_path_;
  size_t max_body_bytes_;
  mutable ByteBudget decoded_;
};

}  // namespace nacre
