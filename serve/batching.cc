#include "serve/batching.h"

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <memory>
#include <new>
#include <thread>
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
  std::thread::id thread;
  RpcStatus status;
  std::condition_variable_any changed;  ///< it is done, or may compute
  bool waiting = false;                 ///< its thread waits for that, and nobody has told it yet
};

/// Rows of a call that go into a batch.
struct Batcher::Piece {
  Call* call = nullptr;
  size_t first = 0;
  size_t rows = 0;
};

/// What a batch is put together in.
struct Batcher::Buffers {
  std::vector<float> inputs;
  std::vector<float> out;
};

Batcher::Batcher(Model model, const BatchingOptions& options, std::shared_ptr<ComputeSlots> slots,
                 ServeMetrics& metrics)
    : model_(std::move(model)),
      options_(options),
      slots_(std::move(slots)),
      metrics_(metrics),
      row_floats_(
          static_cast<size_t>(model_.input().height * model_.input().width * model_.input().channels)),
      classes_(static_cast<size_t>(model_.classes())),
      at_once_(options.num_batch_threads == 0 ? slots_->slots() : options.num_batch_threads) {}

Batcher::~Batcher() = default;

RpcStatus Batcher::run(std::span<const float> inputs, std::span<float> probabilities,
                       const CallContext& context) {
  Call call;
  call.inputs = inputs;
  call.out = probabilities;
  call.rows = inputs.size() / row_floats_;
  call.arrived = ServeClock::now();
  call.thread = std::this_thread::get_id();
  if (call.rows == 0) return {};
  Lock lock(mutex_);
  // What is more than the queue holds in all waits in an empty one.
  if (queued_rows_ > 0 &&
      queued_rows_ + call.rows > options_.max_batch_size * options_.max_enqueued_batches) {
    return {RpcCode::kResourceExhausted,
            "too many requests: " + std::to_string(queued_rows_) + " images wait for a batch already"};
  }
  queue_.push_back(&call);
  queued_rows_ += call.rows;
  gather(call, context, lock);
  while (call.done < call.rows) {
    const auto may_compute = [&] { return call.taken < call.rows && computing_ < at_once_; };
    if (may_compute()) {
      if (RpcStatus computed = compute_next(context, lock); !computed.ok()) {
        RpcStatus useful = leave(call, context, lock);
        return useful.ok() ? computed : useful;
      }
      continue;
    }
    const bool in_time = call.changed.wait_until(lock, context.cancelled, context.deadline, [&] {
      call.waiting = call.done < call.rows && !may_compute();
      return !call.waiting;
    });
    call.waiting = false;
    if (!in_time) return leave(call, context, lock);
  }
  return call.status;
}

size_t Batcher::waiting() const {
  const Lock lock(mutex_);
  return queued_rows_;
}

/// Answers calls of its kind, whose rows join the queue, while the call's own wait and there is room for
/// them.
void Batcher::gather(Call& call, const CallContext& context, Lock& lock) {
  while (call.taken == 0) {
    size_t rows = 0;
    ServeClock::time_point oldest = call.arrived;
    for (const Call* own : queue_) {
      if (own->thread != call.thread) continue;
      rows += own->rows - own->taken;
      oldest = std::min(oldest, own->arrived);
    }
    if (rows >= options_.max_batch_size || ServeClock::now() >= oldest + options_.batch_timeout) return;
    lock.unlock();
    const bool more = context.answer_another(true);
    lock.lock();
    if (!more) return;
  }
}

/// What no batch has taken is dropped; for the rest the call's stack must stay.
RpcStatus Batcher::leave(Call& call, const CallContext& context, Lock& lock) {
  if (call.taken < call.rows) {
    queued_rows_ -= call.rows - call.taken;
    queue_.remove(&call);
    call.rows = call.taken;
    wake_next();  // it may have been the one that was to compute
  }
  call.changed.wait(lock, [&] { return call.done == call.rows; });
  lock.unlock();
  return context.check();
}

/// The first call whose thread waits: that of an older one may be busy with a call within it, and comes back
/// to it.
void Batcher::wake_next() {
  if (computing_ >= at_once_) return;
  const auto next = std::ranges::find_if(queue_, [](const Call* call) { return call->waiting; });
  if (next == queue_.end()) return;
  (*next)->waiting = false;
  (*next)->changed.notify_one();
}

/// Computes what is in the queue when there is a slot for it; an error when the caller's time is up before,
/// or memory runs out: then nothing has been taken.
RpcStatus Batcher::compute_next(const CallContext& context, Lock& lock) {
  ++computing_;
  std::vector<Piece> batch;
  lock.unlock();
  RpcStatus failed;
  {
    const auto slot = slots_->acquire_first(context);
    if (slot.ok()) {
      lock.lock();
      try {
        batch = take_batch();
      } catch (const std::bad_alloc&) {
        failed = rpc_out_of_memory();
      }
      lock.unlock();
      if (!batch.empty()) failed = compute(batch);
    } else {
      failed = slot.status();
    }
  }
  lock.lock();
  --computing_;
  for (const Piece& piece : batch) {
    if (!failed.ok()) piece.call->status = failed;
    piece.call->done += piece.rows;
    if (piece.call->done == piece.call->rows) piece.call->changed.notify_one();
  }
  wake_next();
  return batch.empty() ? failed : RpcStatus();
}

/// The oldest rows of this thread's calls; when no other slot is idle, also those of threads that wait. The
/// rest is left to threads that are about to compute themselves: whoever took their rows would have them
/// wait.
std::vector<Batcher::Piece> Batcher::take_batch() {
  const bool alone = slots_->free() == 0 || computing_ == at_once_;
  size_t free = options_.max_batch_size;
  std::vector<Piece> batch;
  batch.reserve(std::min(queue_.size(), options_.max_batch_size));  // all memory, before anything is taken
  for (auto next = queue_.begin(); free > 0 && next != queue_.end();) {
    Call& call = **next++;
    if (call.thread != std::this_thread::get_id() && !(alone && call.waiting)) continue;
    const size_t rows = std::min(free, call.rows - call.taken);
    batch.push_back({&call, call.taken, rows});
    call.taken += rows;
    free -= rows;
    queued_rows_ -= rows;
    if (call.taken == call.rows) queue_.erase(std::prev(next));
  }
  if (!alone) wake_next();
  return batch;
}

std::unique_ptr<Batcher::Buffers> Batcher::take_buffers() {
  const Lock lock(mutex_);
  if (spare_.empty()) return std::make_unique<Buffers>();
  std::unique_ptr<Buffers> buffers = std::move(spare_.back());
  spare_.pop_back();
  return buffers;
}

Status Batcher::classify(const std::vector<Piece>& batch, size_t rows) {
  const auto inputs_of = [&](const Piece& piece) {
    return piece.call->inputs.subspan(piece.first * row_floats_, piece.rows * row_floats_);
  };
  std::span<const float> inputs = inputs_of(batch.front());
  if (batch.size() == 1) {
    const Piece& piece = batch.front();
    return model_.classify_inputs(inputs, piece.call->out.subspan(piece.first * classes_, rows * classes_));
  }
  std::unique_ptr<Buffers> buffers = take_buffers();
  // Inputs of calls within each other lie one behind the other already (StackedInputs).
  const auto gap = std::ranges::adjacent_find(batch, [&](const Piece& a, const Piece& b) {
    return std::to_address(inputs_of(a).end()) != inputs_of(b).data();
  });
  if (gap == batch.end()) {
    inputs = {inputs.data(), rows * row_floats_};
  } else {
    buffers->inputs.clear();
    for (const Piece& piece : batch) {
      const auto part = inputs_of(piece);
      buffers->inputs.insert(buffers->inputs.end(), part.begin(), part.end());
    }
    inputs = buffers->inputs;
  }
  buffers->out.resize(rows * classes_);
  NACRE_RETURN_IF_ERROR(model_.classify_inputs(inputs, buffers->out));
  auto next = buffers->out.begin();
  for (const Piece& piece : batch) {
    const auto count = static_cast<std::ptrdiff_t>(piece.rows * classes_);
    std::copy_n(next, count, piece.call->out.begin() + static_cast<std::ptrdiff_t>(piece.first * classes_));
    next += count;
  }
  const Lock lock(mutex_);
  spare_.push_back(std::move(buffers));
  return {};
}

RpcStatus Batcher::compute(const std::vector<Piece>& batch) {
  size_t rows = 0;
  for (const Piece& piece : batch) rows += piece.rows;
  metrics_.count_batch(rows);
  try {
    const Status status = classify(batch, rows);
    return status.ok() ? RpcStatus() : RpcStatus(RpcCode::kResourceExhausted, status.message());
  } catch (const std::bad_alloc&) {
    return rpc_out_of_memory();
  }
}

}  // namespace nacre
