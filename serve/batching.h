#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "runtime/model.h"
#include "serve/call_context.h"
#include "serve/compute_slots.h"
#include "serve/metrics.h"

namespace nacre {

/// TensorFlow Serving's names and defaults.
struct BatchingOptions {
  size_t max_batch_size = 32;  ///< images that go through the network together
  /// How long the first image of a batch may wait for others.
  std::chrono::microseconds batch_timeout{1000};
  size_t max_enqueued_batches = 64;  ///< full batches that may wait; more is RESOURCE_EXHAUSTED
  size_t num_batch_threads = 0;      ///< batches that compute at the same time; 0: as many as there are slots
};

/// Puts the rows of calls that come at the same time together into batches. Answers do not depend on it.
/// Thread-safe; the destructor waits for what is in hand, and nobody may be in run() then.
class Batcher {
 public:
  Batcher(Model model, const BatchingOptions& options, std::shared_ptr<ComputeSlots> slots,
          ServeMetrics& metrics);
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// As Model::classify_inputs, with a wait of at most batch_timeout for company. kResourceExhausted when the
  /// queue is full; kCancelled and kDeadlineExceeded while still queued: what runs already is waited for.
  RpcStatus run(std::span<const float> inputs, std::span<float> probabilities, const CallContext& context);

 private:
  struct Call;
  struct Piece;

  void serve_batches();
  std::vector<Piece> take_batch(std::unique_lock<std::mutex>& lock);
  void compute(const std::vector<Piece>& batch);
  [[nodiscard]] Status classify(const std::vector<Piece>& batch, size_t rows) const;

  const Model model_;
  const BatchingOptions options_;
  const std::shared_ptr<ComputeSlots> slots_;
  ServeMetrics& metrics_;
  const size_t row_floats_;
  const size_t classes_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::list<Call*> queue_;  // guarded by mutex_; calls with rows that no batch has taken yet
  size_t queued_rows_ = 0;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace nacre
