#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/status.h"
#include "train/augment.h"
#include "train/dataset.h"

namespace nacre {

struct LoaderOptions {
  int64_t batch_size = 100;  ///< images; the last batch of an epoch may be smaller
  bool shuffle = true;       ///< another order in every epoch; false: the order of the list
  uint64_t seed = 0;         ///< for the order and for augmentation
  Augmentation augmentation;
  int64_t start_epoch = 0;  ///< where to begin: the batch of this epoch ...
  int64_t start_batch =
      0;  ///< ... with this number, in [0, batches_per_epoch()]; the last means the next epoch's first
  int64_t end_epoch =
      -1;           ///< the first epoch not to be delivered; -1: never ends. 1 for one pass from epoch 0
  int workers = 1;  ///< background threads; 0: next() makes the batch itself
  int depth = 2;    ///< batches made ahead of the one in use, at least 1
  int threads = 1;  ///< of next() without workers
};

/// How many workers suit a caller that computes with `threads` threads: none where images come out of memory
/// and the caller takes all CPUs. A thread in the background would then only stop one of the caller's while
/// the others wait for it.
int loader_workers(const Dataset& data, int threads);

/// Images and labels of one step. Owned by the loader.
struct Batch {
  float* images = nullptr;           ///< [n, H, W, C], 64-byte aligned
  const int32_t* labels = nullptr;   ///< [n], in [0, classes)
  int64_t n = 0;                     ///< images, at least 1
  int64_t epoch = 0;                 ///< counted from 0
  int64_t index = 0;                 ///< number of the batch in its epoch, from 0
  int64_t first = 0;                 ///< position of its first image in the epoch: index * batch_size
  bool last_in_epoch = false;        ///< the epoch ends with it
  std::span<const int64_t> samples;  ///< [n], the images' numbers in the dataset
};

/// 0, 1, ..., size - 1 in an order drawn by Fisher and Yates's method.
std::vector<int64_t> shuffled(int64_t size, const RandomStream& random);

/// The order in which an epoch visits `size` images: shuffled() by (seed, epoch), or 0, 1, 2, ... when
/// `shuffle` is false.
std::vector<int64_t> epoch_order(int64_t size, bool shuffle, uint64_t seed, int64_t epoch);

/// Makes batches in the background, ahead of the step that uses them, or without workers when asked. The
/// sequence of batches is a function of the dataset and of the options other than `workers`, `depth` and
/// `threads`: those and timing change nothing, and starting at (epoch, batch) continues the sequence exactly.
/// One thread uses a loader; it may be destroyed at any time. For validation: no shuffle, no augmentation,
/// end_epoch = 1.
class BatchLoader {
 public:
  /// kUsage for options out of range (also augmentation that the channels do not allow), kLimit when the
  /// buffers would need more than 16 GiB, kIo when threads cannot be started.
  static Result<std::unique_ptr<BatchLoader>> make(std::shared_ptr<const Dataset> data,
                                                   const LoaderOptions& options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// The next batch, valid until next() is called again; nullptr after the last one. Waits when it is not
  /// ready yet. An image that cannot be read is an error `file: reason`, when its batch's turn comes and at
  /// every call after that.
  Result<const Batch*> next();

  /// ceil(size / batch_size).
  [[nodiscard]] int64_t batches_per_epoch() const;

 private:
  class Pipeline;
  explicit BatchLoader(std::unique_ptr<Pipeline> pipeline);
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace nacre
