#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// What the names of TensorBoard's event files begin with.
inline constexpr std::string_view kEventFilePrefix = "events.out.tfevents.";

/// Writes what TensorBoard shows, in the form of TensorFlow 2's summaries (a tensor and the name of the
/// plugin that shows it). A tag is always of one kind. For one thread at a time; what is added reaches the
/// file with flush(), at the latest when the writer goes. Errors are `path: reason`, kIo.
class EventWriter {
 public:
  /// Begins a new file in `folder`, which is made with its parents when missing, after all that are there. Of
  /// earlier files TensorBoard then drops the events after `step`, from which a run goes on.
  static Result<std::unique_ptr<EventWriter>> open(const std::string& folder, int64_t step);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void add_scalar(std::string_view tag, int64_t step, double value);
  /// Values that are not finite are left out.
  void add_histogram(std::string_view tag, int64_t step, std::span<const float> values);
  /// PNGs of `width` x `height` pixels.
  void add_images(std::string_view tag, int64_t step, int64_t width, int64_t height,
                  std::span<const std::vector<std::byte>> pngs);
  /// Markdown.
  void add_text(std::string_view tag, int64_t step, std::string_view text);

  Status flush();
  /// The same, at most once a second.
  Status flush_when_due();

 private:
  struct State;
  explicit EventWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A row of a histogram: values from `left` to `right`, how many.
struct HistogramBucket {
  double left = 0;
  double right = 0;
  double count = 0;
};

/// 30 buckets of equal width over the finite ones of `values`; none when there are none. Equal values lie in
/// the middle of a range of width 1.
std::vector<HistogramBucket> histogram_of(std::span<const float> values);

}  // namespace nacre
