#include "serve/predictor.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "engine/vector_math.h"
#include "image/peek.h"
#include "serve/input_stack.h"

namespace nacre {
namespace {

std::chrono::microseconds since(ServeClock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun);
}

RpcStatus too_many(size_t images) {
  return {RpcCode::kInvalidArgument,
          fmt::format("{} images in one request, the limit is {}", images, kMaxImagesPerCall)};
}

size_t row_floats(const Servable& servable) {
  const InputContract& in = servable.input();
  return static_cast<size_t>(in.height * in.width * in.channels);
}

Status decode(const Servable& servable, EncodedImage image, float* out) {
  NACRE_ASSIGN_OR_RETURN(const Image decoded, decode_image(image, servable.input(), servable.limits()));
  return image_to_input(decoded, servable.input(), out);
}

/// As the Softmax layer does it, to the bit.
void to_probabilities(Scores& scores) {
  const auto classes = static_cast<int64_t>(scores.classes);
  for (size_t row = 0; row < scores.rows; ++row) {
    float* const values = scores.values.data() + row * scores.classes;
    softmax_forward(classes, values, values);
  }
}

/// Pixels, all together, of a call that may be answered within another: a few milliseconds.
constexpr int64_t kCheapPixels = int64_t{1} << 18;

bool is_cheap(std::span<const EncodedImage> images) {
  if (images.size() > kImagesPerTurn) return false;
  int64_t pixels = 0;
  for (const EncodedImage image : images) {
    const auto size = peek_size(image, ExifPolicy::kIgnore);
    if (!size.has_value() || size->height > kCheapPixels || size->width > kCheapPixels) return false;
    pixels += size->height * size->width;
  }
  return pixels <= kCheapPixels;
}

/// Who waits for company waits for what goes through the network with it alone.
bool may_be_within(const Batcher* batcher) {
  return batcher != nullptr || !CallContext::is_joined();
}

/// For CallContext::postponed.
RpcStatus postponed(const CallContext& context) {
  *context.postponed = true;
  return {RpcCode::kAborted, "postponed"};
}

/// Between the turns of a call of many images.
void let_others_pass(const CallContext& context) {
  for (size_t i = 0; i < kImagesPerTurn && context.answer_another(); ++i) {
  }
}

}  // namespace

Predictor::Predictor(std::shared_ptr<ComputeSlots> slots, ServeMetrics& metrics)
    : slots_(std::move(slots)), metrics_(metrics) {}

RpcResult<Scores> Predictor::run(const Servable& servable, std::span<const EncodedImage> images,
                                 const CallContext& context, OutputForm form) const {
  if (images.size() > kMaxImagesPerCall) return too_many(images.size());
  Batcher* const batcher = servable.batcher(images.size());
  if (context.postponed != nullptr && !(may_be_within(batcher) && is_cheap(images)))
    return postponed(context);
  try {
    const ServeClock::time_point begun = ServeClock::now();
    const auto classes = static_cast<size_t>(servable.model().classes());
    const size_t floats = row_floats(servable);
    Scores scores{images.size(), classes, std::vector<float>(images.size() * classes)};
    // A few images at a time, so that a call of many neither holds all their pixels nor its slot for long.
    const StackedInputs inputs(std::min(images.size(), kImagesPerTurn) * floats);
    for (size_t first = 0; first < images.size(); first += kImagesPerTurn) {
      const size_t n = std::min(images.size() - first, kImagesPerTurn);
      const std::span<float> rows = inputs.floats().first(n * floats);
      const std::span<float> out(scores.values.data() + first * classes, n * classes);
      {
        NACRE_ASSIGN_OR_RETURN(const ComputeSlots::Lease slot, acquire(context));
        for (size_t i = 0; i < n; ++i) {
          if (RpcStatus useful = context.check(); !useful.ok()) return useful;
          const Status decoded = decode(servable, images[first + i], rows.data() + i * floats);
          if (decoded.ok()) continue;
          const RpcStatus reason = rpc_status_of_image(decoded);
          return RpcStatus(reason.code(), fmt::format("image {}: {}", first + i, reason.message()));
        }
        if (batcher == nullptr) {
          if (RpcStatus done = classify(servable, rows, out); !done.ok()) return done;
        }
      }
      if (batcher != nullptr) {
        if (RpcStatus done = batcher->run(rows, out, context); !done.ok()) return done;
      }
      if (first + n < images.size()) let_others_pass(context);
    }
    finish(scores, servable, begun, form);
    return scores;
  } catch (const std::bad_alloc&) {
    return rpc_out_of_memory();
  }
}

RpcResult<Scores> Predictor::run(const Servable& servable, std::span<const float> inputs,
                                 const CallContext& context, OutputForm form) const {
  const size_t floats = row_floats(servable);
  const size_t rows = inputs.size() / floats;
  if (rows * floats != inputs.size()) {
    return RpcStatus(RpcCode::kInvalidArgument,
                     fmt::format("{} floats of input, expected {} for each image", inputs.size(), floats));
  }
  if (rows > kMaxImagesPerCall) return too_many(rows);
  Batcher* const batcher = servable.batcher(rows);
  if (context.postponed != nullptr && !(may_be_within(batcher) && rows <= kImagesPerTurn))
    return postponed(context);
  try {
    const ServeClock::time_point begun = ServeClock::now();
    const auto classes = static_cast<size_t>(servable.model().classes());
    Scores scores{rows, classes, std::vector<float>(rows * classes)};
    for (size_t first = 0; first < rows; first += kImagesPerTurn) {
      const size_t n = std::min(rows - first, kImagesPerTurn);
      const auto part = inputs.subspan(first * floats, n * floats);
      const std::span<float> out(scores.values.data() + first * classes, n * classes);
      if (batcher != nullptr) {
        if (RpcStatus done = batcher->run(part, out, context); !done.ok()) return done;
      } else {
        NACRE_ASSIGN_OR_RETURN(const ComputeSlots::Lease slot, acquire(context));
        if (RpcStatus done = classify(servable, part, out); !done.ok()) return done;
      }
      if (first + n < rows) let_others_pass(context);
    }
    finish(scores, servable, begun, form);
    return scores;
  } catch (const std::bad_alloc&) {
    return rpc_out_of_memory();
  }
}

/// Counts a call, and makes of its answers what `form` asks for.
void Predictor::finish(Scores& scores, const Servable& servable, ServeClock::time_point begun,
                       OutputForm form) const {
  metrics_.count_run(servable.name(), scores.rows, since(begun));
  if (servable.gives_scores() && form != OutputForm::kScores) to_probabilities(scores);
}

/// A call within another has that one wait: it comes first.
RpcResult<ComputeSlots::Lease> Predictor::acquire(const CallContext& context) const {
  return context.postponed != nullptr ? slots_->acquire_first(context) : slots_->acquire(context);
}

RpcStatus Predictor::classify(const Servable& servable, std::span<const float> inputs,
                              std::span<float> out) const {
  const Status done = servable.model().classify_inputs(inputs, out);
  metrics_.count_batch(inputs.size() / row_floats(servable));
  if (done.ok()) return {};
  // The sizes are right, so what is left is memory.
  return {RpcCode::kResourceExhausted, done.message()};
}

}  // namespace nacre
