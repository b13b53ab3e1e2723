#pragma once

#include <string>
#include <string_view>

#include "serve/model_manager.h"
#include "serve/rpc_status.h"

namespace nacre {

inline constexpr std::string_view kMetricsPath = "/monitoring/prometheus/metrics";

/// What a request asks for.
enum class RouteKind {
  kPredict,
  kClassify,
  kRegress,
  kCloudPredict,  ///< CloudML's form of predict
  kStatus,
  kMetadata,
  kMetrics,
  kLive,
  kReady,
  kModelReady,
  kPreflight,  ///< OPTIONS
};

struct Route {
  RouteKind kind = RouteKind::kStatus;
  ModelSelector model;
};

/// Finds the route of a request; `method` HEAD counts as GET, and the query does not count. There is no page
/// of metrics when `metrics_path` is empty. kNotFound outside of what nacre has; kInvalidArgument `Malformed
/// request: METHOD TARGET` below /v1/, `Failed to convert version: V to numeric`, `Missing model name in
/// request.`; kUnimplemented for other methods.
RpcResult<Route> route_of(std::string_view method, std::string_view target,
                          std::string_view metrics_path = kMetricsPath);

}  // namespace nacre
