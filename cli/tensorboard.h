#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/attributes.h"
#include "engine/status.h"
#include "image/decode.h"
#include "serialize/tensorflow/event_writer.h"
#include "train/dataset.h"
#include "train/trainer.h"

namespace nacre {

/// What a run writes for TensorBoard: nothing; numbers, the recipe and how classes are confused; or also
/// histograms of the weights at every checkpoint and a few training images at the start.
enum class EventDetail : uint8_t { kNone, kScalars, kAll };
std::span<const EnumName<EventDetail>> enum_names(EventDetail);

/// What TensorBoardLog must know of the run.
struct TensorBoardSource {
  std::string train_folder;       ///< RUN/events/train
  std::string validation_folder;  ///< RUN/events/validation
  uint64_t first_step = 0;        ///< steps that are done already
  uint64_t seed = 0;
  EventDetail detail = EventDetail::kScalars;
  std::string config;  ///< JSON text of config.json
  Augmentation augmentation;
  std::shared_ptr<const Dataset> training;
};

/// Writes a run's event files. Tags are Keras's: of every step batch_loss, batch_accuracy,
/// batch_learning_rate and batch_images_per_second; of every epoch, whose number from 0 is their step,
/// epoch_loss, epoch_accuracy and epoch_learning_rate (means over the steps of this process); of every
/// validation evaluation_loss_vs_iterations and evaluation_accuracy_vs_iterations.
class TensorBoardLog : public TrainObserver {
 public:
  /// Begins the files. Errors are `path: reason`, kIo, and those of reading the sample images.
  static Result<std::unique_ptr<TensorBoardLog>> open(TensorBoardSource source);

  Status on_step(const StepReport& report) override;
  Status on_checkpoint(const Checkpoint& checkpoint, bool best) override;

 private:
  explicit TensorBoardLog(TensorBoardSource source) : source_(std::move(source)) {}
  Status begin();
  Status add_samples();
  Status add_validation(const StepReport& report);

  TensorBoardSource source_;
  std::unique_ptr<EventWriter> train_;
  std::unique_ptr<EventWriter> validation_;  ///< made by the first validation
  // Sums over the epoch so far.
  int64_t steps_ = 0;
  double loss_ = 0;
  double accuracy_ = 0;
};

/// A confusion matrix [true][predicted] as a picture: a square for each cell, the darker the larger its share
/// of the true class. At most kMaxPictureClasses classes.
Image confusion_picture(const Confusion& confusion);
inline constexpr size_t kMaxPictureClasses = 512;

}  // namespace nacre
