#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "serve/compute_slots.h"
#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/model_manager.h"
#include "serve/predictor.h"

namespace nacre {

/// All that a transport needs, shared by all transports. A transport is a class with
///
///   static Result<std::unique_ptr<Transport>> start(const Options& options, ServeCore& core);
///   void drain(ServeClock::time_point deadline);   // no new calls; waits for those in hand
///
/// and answers call by call: models.find(), Servable::signature(), predictor.run(), metrics.count_call().
struct ServeCore {
  struct Options {
    ModelManager::Options models;
    size_t slots = 1;           ///< calls that compute at the same time
    size_t max_waiting = 1024;  ///< calls that may wait for it
  };

  ServeCore(const Options& options, const Log& lines)
      : log(lines),
        slots(std::make_shared<ComputeSlots>(options.slots, options.max_waiting)),
        models(options.models, slots, metrics, log),
        predictor(slots, metrics) {
    metrics.add_gauge("queue_depth", [this] { return static_cast<double>(slots->waiting() + waiting); });
  }

  /// Whether a load balancer should send requests here.
  [[nodiscard]] bool ready() const { return !draining && models.ready(); }

  Log log;
  std::atomic<size_t> waiting{0};  ///< calls that wait for a thread of their transport
  std::shared_ptr<ComputeSlots> slots;
  ServeMetrics metrics;
  ModelManager models;
  Predictor predictor;
  std::atomic<bool> draining{false};  ///< set before transports drain
};

}  // namespace nacre
