#include "train/loader.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/shape.h"
#include "engine/tensor.h"

namespace nacre {
namespace {

constexpr int64_t kMaxBufferBytes = int64_t{16} << 30;
constexpr int kMaxWorkers = 1024;
constexpr int kMaxDepth = 1024;
// Images that a worker takes at a time: few enough to share a batch out, enough to make locking cheap.
constexpr int64_t kImagesPerTask = 8;

Status usage(std::string reason) {
  return {StatusCode::kUsage, std::move(reason)};
}

/// Batches in memory: those ahead and the one in use.
int64_t slots_of(const LoaderOptions& options) {
  return options.workers == 0 ? 1 : options.depth + 1;
}

Status check_options(const Dataset& data, const LoaderOptions& options, int64_t batches) {
  if (options.workers < 0 || options.workers > kMaxWorkers) {
    return usage("loader threads: expected 0 to " + std::to_string(kMaxWorkers) + ", found " +
                 std::to_string(options.workers));
  }
  if (options.depth < 1 || options.depth > kMaxDepth) {
    return usage("loader depth: expected 1 to " + std::to_string(kMaxDepth) + ", found " +
                 std::to_string(options.depth));
  }
  if (options.start_epoch < 0 || options.start_batch < 0 || options.start_batch > batches) {
    return usage("loader start: expected a batch from 0 to " + std::to_string(batches) +
                 " of an epoch from 0, found " + std::to_string(options.start_batch) + " of " +
                 std::to_string(options.start_epoch));
  }
  return options.augmentation.check(data.contract());
}

}  // namespace

std::vector<int64_t> shuffled(int64_t size, const RandomStream& random) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (uint64_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i - 1, i)]);
  return order;
}

std::vector<int64_t> epoch_order(int64_t size, bool shuffle, uint64_t seed, int64_t epoch) {
  if (shuffle) {
    return shuffled(size, {seed, hash_name(std::string_view("shuffle")), static_cast<uint64_t>(epoch)});
  }
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

// Batches are numbered from the start of the run: the ticket. Ticket t lives in slot t % slots until it is
// consumed. Workers take tasks in order, a few images each; all waiting is for `changed`.
class BatchLoader::Pipeline {
 public:
  Pipeline(std::shared_ptr<const Dataset> data, const LoaderOptions& options, int64_t batches)
      : data_(std::move(data)),
        options_(options),
        batches_(batches),
        floats_(data_->image_floats()),
        slots_(static_cast<size_t>(slots_of(options))),
        epoch_(options.start_epoch),
        index_(options.start_batch) {
    const int64_t capacity = std::min(options.batch_size, data_->size());
    for (Slot& slot : slots_) {
      slot.images = Tensor({capacity, floats_});
      slot.labels.resize(static_cast<size_t>(capacity));
    }
    if (index_ == batches_) {
      index_ = 0;
      ++epoch_;
    }
  }

  ~Pipeline() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Status start() {
    try {
      for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      return {StatusCode::kIo, std::string("cannot start a loader thread: ") + error.what()};
    }
    return {};
  }

  Result<const Batch*> next() {
    std::unique_lock lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (holding_) {
      holding_ = false;
      ++consumed_;
      changed_.notify_all();
    }
    if (options_.workers == 0) {
      open_batch();
      lock.unlock();
      fill_batch();
      lock.lock();
    }
    Slot& slot = slots_[static_cast<size_t>(consumed_) % slots_.size()];
    changed_.wait(lock, [&] {
      return (ended_ && consumed_ == opened_) || (consumed_ < opened_ && slot.remaining == 0);
    });
    if (consumed_ == opened_) return static_cast<const Batch*>(nullptr);
    if (!slot.error.ok()) {
      failure_ = slot.error;
      return failure_;
    }
    holding_ = true;
    return static_cast<const Batch*>(&slot.batch);
  }

  [[nodiscard]] int64_t batches() const { return batches_; }

 private:
  struct Slot {
    Tensor images;
    std::vector<int32_t> labels;
    std::vector<int64_t> samples;
    Batch batch;
    int64_t remaining = 0;  // images not yet written
    int64_t error_at = 0;   // the place of the image that `error` tells of
    Status error;
  };

  struct Task {
    Slot* slot;
    int64_t begin;
    int64_t end;
  };

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || taken_ < total_ || can_open(); });
      if (stopping_) return;
      if (taken_ == total_) {
        open_batch();
        continue;
      }
      const Task task{&newest(), taken_, std::min(taken_ + kImagesPerTask, total_)};
      taken_ = task.end;
      lock.unlock();
      int64_t failed_at = 0;
      const Status status = fill(task, failed_at);
      lock.lock();
      finish(task, status, failed_at);
    }
  }

  // What open_batch has opened, on the caller's threads.
  void fill_batch() {
    if (ended_) return;
    Slot& slot = newest();
    const int64_t count = total_;
    parallel_for(chunks_of(count, kImagesPerTask), options_.threads, [&](int64_t chunk, int /*worker*/) {
      const Task task{&slot, chunk * kImagesPerTask, std::min((chunk + 1) * kImagesPerTask, count)};
      int64_t failed_at = 0;
      const Status status = fill(task, failed_at);
      const std::lock_guard lock(mutex_);
      finish(task, status, failed_at);
    });
    taken_ = count;
  }

  // A task is done; with the lock held.
  void finish(const Task& task, const Status& status, int64_t failed_at) {
    Slot& slot = *task.slot;
    // The first image of the batch that fails is reported, whichever thread met it first.
    if (!status.ok() && (slot.error.ok() || failed_at < slot.error_at)) {
      slot.error = status;
      slot.error_at = failed_at;
    }
    slot.remaining -= task.end - task.begin;
    if (slot.remaining == 0) changed_.notify_all();
  }

  Slot& newest() { return slots_[static_cast<size_t>(opened_ - 1) % slots_.size()]; }

  // The next batch has a slot of its own once the batch that was in it has been given back.
  [[nodiscard]] bool can_open() const {
    return !ended_ && opened_ - consumed_ < static_cast<int64_t>(slots_.size());
  }

  void open_batch() {
    if (options_.end_epoch >= 0 && epoch_ >= options_.end_epoch) {
      ended_ = true;
      changed_.notify_all();
      return;
    }
    if (order_epoch_ != epoch_) {
      order_ = epoch_order(data_->size(), options_.shuffle, options_.seed, epoch_);
      order_epoch_ = epoch_;
    }
    Slot& slot = slots_[static_cast<size_t>(opened_) % slots_.size()];
    const int64_t first = index_ * options_.batch_size;
    const int64_t n = std::min(options_.batch_size, data_->size() - first);
    slot.samples.assign(order_.begin() + first, order_.begin() + first + n);
    slot.remaining = n;
    slot.error = Status();
    slot.batch = {slot.images.data(),     slot.labels.data(), n, epoch_, index_, first,
                  index_ + 1 == batches_, slot.samples};
    taken_ = 0;
    total_ = n;
    ++opened_;
    if (++index_ == batches_) {
      index_ = 0;
      ++epoch_;
    }
    changed_.notify_all();
  }

  // Writes the task's images and labels; touches nothing that the lock protects.
  Status fill(const Task& task, int64_t& failed_at) const {
    const InputContract& contract = data_->contract();
    for (int64_t i = task.begin; i < task.end; ++i) {
      const int64_t sample = task.slot->samples[static_cast<size_t>(i)];
      float* image = task.slot->images.data() + i * floats_;
      failed_at = i;
      NACRE_RETURN_IF_ERROR(data_->read(sample, image));
      task.slot->labels[static_cast<size_t>(i)] = data_->label(sample);
      if (!options_.augmentation.any()) continue;
      augment(options_.augmentation, augment_stream(options_.seed, task.slot->batch.epoch, sample), image,
              contract.height, contract.width, contract.channels);
    }
    return {};
  }

  const std::shared_ptr<const Dataset> data_;
  const LoaderOptions options_;
  const int64_t batches_;
  const int64_t floats_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  int64_t opened_ = 0;    // tickets whose slot has been set up
  int64_t consumed_ = 0;  // tickets that next() has given back
  int64_t taken_ = 0;     // of the newest ticket: images that workers have taken ...
  int64_t total_ = 0;     // ... and images there are
  int64_t epoch_;         // of the next ticket
  int64_t index_;
  std::vector<int64_t> order_;
  int64_t order_epoch_ = -1;
  bool holding_ = false;  // the caller has the batch `consumed_`
  bool ended_ = false;
  bool stopping_ = false;
  Status failure_;
  std::vector<std::thread> workers_;
};

int loader_workers(const Dataset& data, int threads) {
  return data.in_memory() && threads >= available_threads() ? 0 : 1;
}

BatchLoader::BatchLoader(std::unique_ptr<Pipeline> pipeline) : pipeline_(std::move(pipeline)) {}
BatchLoader::~BatchLoader() = default;

Result<std::unique_ptr<BatchLoader>> BatchLoader::make(std::shared_ptr<const Dataset> data,
                                                       const LoaderOptions& options) {
  if (options.batch_size < 1) {
    return usage("batch size: expected at least 1, found " + std::to_string(options.batch_size));
  }
  const int64_t batches = (data->size() - 1) / options.batch_size + 1;
  NACRE_RETURN_IF_ERROR(check_options(*data, options, batches));
  const std::array<int64_t, 3> dims = {slots_of(options), std::min(options.batch_size, data->size()),
                                       data->image_floats()};
  const Result<Shape> shape = Shape::make(dims);
  if (!shape.ok() || shape->num_elements() > kMaxBufferBytes / static_cast<int64_t>(sizeof(float))) {
    return Status(StatusCode::kLimit, "batch size " + std::to_string(options.batch_size) + ": " +
                                          std::to_string(slots_of(options)) +
                                          " batches need more than 16 GiB");
  }
  auto pipeline = std::make_unique<Pipeline>(std::move(data), options, batches);
  NACRE_RETURN_IF_ERROR(pipeline->start());
  return std::unique_ptr<BatchLoader>(new BatchLoader(std::move(pipeline)));
}

Result<const Batch*> BatchLoader::next() {
  return pipeline_->next();
}
int64_t BatchLoader::batches_per_epoch() const {
  return pipeline_->batches();
}

}  // namespace nacre
