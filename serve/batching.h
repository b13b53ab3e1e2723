#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/model.h"
#include "serve/call_context.h"
#include "serve/compute_slots.h"
#include "serve/metrics.h"

namespace nacre {

/// TensorFlow Serving's names and defaults; all of them are upper bounds.
struct BatchingOptions {
  size_t max_batch_size = 32;  ///< images that go through the network together
  /// How long the first image of a batch may wait for others, while there are others to be read.
  std::chrono::microseconds batch_timeout{1000};
  size_t max_enqueued_batches = 64;  ///< full batches that may wait; more is RESOURCE_EXHAUSTED
  size_t num_batch_threads = 0;      ///< batches that compute at the same time; 0: as many as there are slots
};

/// Puts the rows of calls that come at the same time together into batches. Answers do not depend on it. It
/// has no threads: a call whose rows wait reads calls that wait meanwhile (CallContext::answer_another), and
/// when there are none, or its time is up, its thread computes what it has brought together as soon as there
/// is a slot, and the rows of threads that wait for one. Thread-safe; nobody may be in run() when it goes.
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

  /// Rows that wait now.
  [[nodiscard]] size_t waiting() const;

 private:
  struct Call;
  struct Piece;
  struct Buffers;
  using Lock = std::unique_lock<std::mutex>;

  void gather(Call& call, const CallContext& context, Lock& lock);
  RpcStatus compute_next(const CallContext& context, Lock& lock);
  [[nodiscard]] std::vector<Piece> take_batch();
  RpcStatus compute(const std::vector<Piece>& batch);
  Status classify(const std::vector<Piece>& batch, size_t rows);
  RpcStatus leave(Call& call, const CallContext& context, Lock& lock);
  void wake_next();
  std::unique_ptr<Buffers> take_buffers();

  const Model model_;
  const BatchingOptions options_;
  const std::shared_ptr<ComputeSlots> slots_;
  ServeMetrics& metrics_;
  const size_t row_floats_;
  const size_t classes_;
  const size_t at_once_;  ///< batches that compute, or wait for a slot

  mutable std::mutex mutex_;
  std::list<Call*> queue_;  // guarded by mutex_; calls with rows that no batch has taken yet
  size_t queued_rows_ = 0;  // guarded by mutex_
  size_t computing_ = 0;    // guarded by mutex_
  std::vector<std::unique_ptr<Buffers>> spare_;  // guarded by mutex_
};

}  // namespace nacre
