#pragma once

#include <chrono>
#include <string>

#include "train/trainer.h"

namespace nacre {

/// "1h 02m", "3m 05s", "12s".
std::string readable_duration(double seconds);

/// "step 120/600, epoch 2, loss 0.4512, accuracy 84.0%, 9,120 images/s, 1m 12s left"
std::string progress_line(const StepReport& report);

/// The same in fewer columns for a line of at most `width`, after a bar where there is room for one:
/// "[====>     ] 120/600  epoch 2  loss 0.4512  accuracy 84.0%  9,120 images/s  1m 12s left"
std::string live_line(const StepReport& report, size_t width);

/// Shows on stderr how training goes: one line that renews itself where stderr is a terminal, else a plain
/// line every few seconds; and a line for every validation.
class Progress : public TrainObserver {
 public:
  explicit Progress(bool terminal);
  /// Leaves the live line behind.
  ~Progress() override;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  Status on_step(const StepReport& report) override;

 private:
  void show(const std::string& line, bool stays);

  bool terminal_;
  bool live_ = false;  ///< the cursor stands in a line that will be renewed
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace nacre
