#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/rpc_status.h"

namespace nacre {

/// Which transport a call came by, and what it asked for, in TensorFlow Serving's words: "REST" with predict,
/// classify, regress; "GRPC" with Predict, Classify, Regress, MultiInference.
struct CallKind {
  std::string_view entrypoint;
  std::string_view api;
};

/// The server's counters, in Prometheus's text form. Thread-safe. Names of models and signatures must be
/// those of what is served, or empty: they stay for ever, so clients must not make them up.
class ServeMetrics {
 public:
  /// A call that has its answer. `model` and `signature` are empty when it named none that is served. Latency
  /// counts for calls that succeeded.
  void count_call(const CallKind& kind, std::string_view model, std::string_view signature, RpcCode code,
                  std::chrono::microseconds latency);
  /// A request that was refused before it was known what it asks for; `reason` is one of a few.
  void count_refusal(std::string_view entrypoint, std::string_view reason);
  /// Rows of a call that was run, and how long the network (decoding and waiting included) took for them.
  void count_run(std::string_view model, size_t rows, std::chrono::microseconds latency);
  /// Rows that went through the network together.
  void count_batch(size_t rows);
  void count_load(std::string_view model, bool loaded);
  void count_warm_up(std::string_view model, std::chrono::microseconds latency);

  /// A number that is asked for when it is shown: `name` without prefix, such as "queue_depth".
  void add_gauge(std::string name, std::function<double()> value);

  /// The page of /monitoring/prometheus/metrics.
  [[nodiscard]] std::string prometheus() const;

 private:
  struct Histogram {
    std::vector<uint64_t> buckets;  ///< of values up to each limit and above the one before; last: the rest
    double sum = 0;
  };
  /// By the text of their labels: `model_name="m",status="OK"`.
  using Counters = std::map<std::string, uint64_t, std::less<>>;
  using Histograms = std::map<std::string, Histogram, std::less<>>;

  static void observe(Histograms& family, std::string_view labels, const std::vector<double>& limits,
                      double value);
  static void show(std::string& out, std::string_view name, const Counters& family);
  static void show(std::string& out, std::string_view name, const Histograms& family,
                   const std::vector<double>& limits);

  mutable std::mutex mutex_;  // guards all below
  Counters requests_;
  Counters signature_requests_;
  Counters refusals_;
  Counters examples_total_;
  Counters loads_;
  Histograms request_latency_;
  Histograms runtime_latency_;
  Histograms examples_;
  Histograms batch_size_;
  Histograms warm_up_latency_;
  std::map<std::string, std::function<double()>> gauges_;
};

}  // namespace nacre
