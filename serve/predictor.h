#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "serve/call_context.h"
#include "serve/compute_slots.h"
#include "serve/metrics.h"
#include "serve/rpc_status.h"
#include "serve/servable.h"

namespace nacre {

/// Bytes of one encoded image, borrowed.
using EncodedImage = std::span<const std::byte>;

/// The network's answers for the images of a call, in order.
struct Scores {
  size_t rows = 0;
  size_t classes = 0;
  std::vector<float> values;  ///< [rows, classes]

  [[nodiscard]] std::span<const float> row(size_t i) const {
    return std::span(values).subspan(i * classes, classes);
  }
};

/// Images of one call that are decoded and computed before others have their turn.
inline constexpr size_t kImagesPerTurn = 32;

/// Runs images through a servable: the one way of it for all transports. A call blocks its thread until its
/// answer is there; computes while it holds one of the slots. The bits of an answer are those of `nacre
/// predict`, batched or not. Thread-safe.
class Predictor {
 public:
  Predictor(std::shared_ptr<ComputeSlots> slots, ServeMetrics& metrics);

  /// The probabilities or, for OutputForm::kScores, the scores of a servable that gives scores, of images:
  /// JPEG or PNG, any sizes. kInvalidArgument `image I: reason` for the first bad one, and when there are
  /// more than kMaxImagesPerCall; kResourceExhausted when too many calls wait or memory runs out;
  /// kDeadlineExceeded and kCancelled, also between the images of one call. Within another call, images that
  /// take long are postponed (CallContext::postponed).
  [[nodiscard]] RpcResult<Scores> run(const Servable& servable, std::span<const EncodedImage> images,
                                      const CallContext& context,
                                      OutputForm form = OutputForm::kProbabilities) const;
  /// Rows of network input, [rows, height, width, channels] of servable.input(). Errors as above, and
  /// kInvalidArgument when `inputs` is not whole rows.
  [[nodiscard]] RpcResult<Scores> run(const Servable& servable, std::span<const float> inputs,
                                      const CallContext& context,
                                      OutputForm form = OutputForm::kProbabilities) const;

 private:
  [[nodiscard]] RpcResult<ComputeSlots::Lease> acquire(const CallContext& context) const;
  void finish(Scores& scores, const Servable& servable, ServeClock::time_point begun, OutputForm form) const;
  RpcStatus classify(const Servable& servable, std::span<const float> inputs, std::span<float> out) const;

  std::shared_ptr<ComputeSlots> slots_;
  ServeMetrics& metrics_;
};

}  // namespace nacre
