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

/// What goes on, on stderr: on a terminal a line that renews itself, else now and then a plain line.
class LiveLine {
 public:
  /// Whether stderr is a terminal on which a line can be renewed.
  [[nodiscard]] static bool possible();

  explicit LiveLine(bool terminal);
  /// Leaves the live line behind.
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

  /// Whether it is time for another line.
  [[nodiscard]] bool due() const;
  /// `live` where stderr is a terminal (cut to its width), `plain` where it is none.
  void renew(const std::string& live, const std::string& plain);
  /// A line that stays.
  void keep(const std::string& line) { show(line, /*stays=*/true); }
  /// Makes place for what is written to stderr by other ways.
  void clear();
  [[nodiscard]] bool terminal() const { return terminal_; }
  /// Columns that a live line may fill.
  [[nodiscard]] static size_t width();

 private:
  void show(const std::string& line, bool stays);

  bool terminal_;
  bool live_ = false;  ///< the cursor stands in a line that will be renewed
  std::chrono::steady_clock::time_point shown_;
};

/// "[====>     ] text", `share` of the bar filled; without the bar where `width` leaves no room for one.
std::string with_bar(const std::string& text, double share, size_t width);

/// Shows on stderr how training goes: one line that renews itself where stderr is a terminal, else a plain
/// line every few seconds; and a line for every validation.
class Progress : public TrainObserver {
 public:
  explicit Progress(bool terminal) : line_(terminal) {}

  Status on_step(const StepReport& report) override;

 private:
  LiveLine line_;
};

}  // namespace nacre
