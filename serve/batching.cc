#include "serve/batching.h"

#include <algorithm>
#include <new>
#include <utility>

namespace nacre {

/// Rows of one call, on the stack of its thread.
struct Batcher::Call {
  std::span<const float> inputs;
  std::span<float> out;
  size_t rows = 0;
  size_t taken = 0;  ///< rows that batches have taken
  size_t done = 0;   ///< rows that have their answer
  ServeClock::time_point arrived;
  RpcStatus status;
  std::condition_variable_any finished;
};

/// Rows of a call that go into a batch.
struct Batcher::Piece {
  Call* call = nullptr;
  size_t first = 0;
  size_t rows = 0;
};

Batcher::Batcher(Model model, const BatchingOptions& options, std::shared_ptr<ComputeSlots> slots,
                 ServeMetrics& metrics)
    : model_(std::move(model)),
      options_(options),
      slots_(std::move(slots)),
      metrics_(metrics),
      row_floats_(
          static_cast<size_t>(model_.input().height * model_.input().width * model_.input().channels)),
      classes_(static_cast<size_t>(model_.classes())) {
  const size_t threads = options.num_batch_threads == 0 ? slots_->slots() : options.num_batch_threads;
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { serve_batches(); });
}

Batcher::~Batcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
}

RpcStatus Batcher::run(std::span<const float> inputs, std::span<float> probabilities,
                       const CallContext& context) {
  Call call;
  call.inputs = inputs;
  call.out = probabilities;
  call.rows = inputs.size() / row_floats_;
  call.arrived = ServeClock::now();
  if (call.rows == 0) return {};
  std::unique_lock lock(mutex_);
  if (queued_rows_ + call.rows > options_.max_batch_size * options_.max_enqueued_batches) {
    return {RpcCode::kResourceExhausted,
            "too many requests: " + std::to_string(queued_rows_) + " images wait for a batch already"};
  }
  queue_.push_back(&call);
  queued_rows_ += call.rows;
  work_.notify_all();
  const bool finished = call.finished.wait_until(lock, context.cancelled, context.deadline,
                                                 [&] { return call.done == call.rows; });
  if (finished) return call.status;
  // What no batch has taken is dropped; for the rest this stack must stay.
  if (call.taken < call.rows) {
    queued_rows_ -= call.rows - call.taken;
    queue_.remove(&call);
    call.rows = call.taken;
  }
  call.finished.wait(lock, [&] { return call.done == call.rows; });
  lock.unlock();
  return context.check();
}

void Batcher::serve_batches() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::vector<Piece> batch = take_batch(lock);
    if (batch.empty()) continue;
    lock.unlock();
    compute(batch);
    lock.lock();
    for (const Piece& piece : batch) {
      piece.call->done += piece.rows;
      if (piece.call->done == piece.call->rows) piece.call->finished.notify_one();
    }
  }
}

/// Waits until there are enough rows for a full batch or the first one's time is up; nothing when they have
/// gone meanwhile.
std::vector<Batcher::Piece> Batcher::take_batch(std::unique_lock<std::mutex>& lock) {
  while (!stopping_ && !queue_.empty() && queued_rows_ < options_.max_batch_size) {
    const ServeClock::time_point latest = queue_.front()->arrived + options_.batch_timeout;
    if (ServeClock::now() >= latest) break;
    work_.wait_until(lock, latest);
  }
  std::vector<Piece> batch;
  size_t free = options_.max_batch_size;
  while (free > 0 && !queue_.empty()) {
    Call& call = *queue_.front();
    const size_t rows = std::min(free, call.rows - call.taken);
    batch.push_back({&call, call.taken, rows});
    call.taken += rows;
    free -= rows;
    queued_rows_ -= rows;
    if (call.taken == call.rows) queue_.pop_front();
  }
  return batch;
}

Status Batcher::classify(const std::vector<Piece>& batch, size_t rows) const {
  if (batch.size() == 1) {
    const Piece& piece = batch.front();
    return model_.classify_inputs(piece.call->inputs.subspan(piece.first * row_floats_, rows * row_floats_),
                                  piece.call->out.subspan(piece.first * classes_, rows * classes_));
  }
  std::vector<float> inputs;
  inputs.reserve(rows * row_floats_);
  for (const Piece& piece : batch) {
    const auto part = piece.call->inputs.subspan(piece.first * row_floats_, piece.rows * row_floats_);
    inputs.insert(inputs.end(), part.begin(), part.end());
  }
  std::vector<float> out(rows * classes_);
  NACRE_RETURN_IF_ERROR(model_.classify_inputs(inputs, out));
  auto next = out.begin();
  for (const Piece& piece : batch) {
    const auto count = static_cast<std::ptrdiff_t>(piece.rows * classes_);
    std::copy_n(next, count, piece.call->out.begin() + static_cast<std::ptrdiff_t>(piece.first * classes_));
    next += count;
  }
  return {};
}

void Batcher::compute(const std::vector<Piece>& batch) {
  size_t rows = 0;
  for (const Piece& piece : batch) rows += piece.rows;
  Status status;
  {
    const ComputeSlots::Lease slot = slots_->acquire_first();
    try {
      status = classify(batch, rows);
    } catch (const std::bad_alloc&) {
      status = Status(StatusCode::kLimit, "out of memory");
    }
  }
  metrics_.count_batch(rows);
  if (status.ok()) return;
  const std::lock_guard lock(mutex_);
  for (const Piece& piece : batch) piece.call->status = {RpcCode::kResourceExhausted, status.message()};
}

}  // namespace nacre
