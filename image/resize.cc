#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "engine/vector_math.h"
#include "image/decode.h"

namespace nacre {
namespace {

/// Where an output coordinate lies between two input coordinates.
struct Tap {
  int64_t lower;
  int64_t upper;
  float weight;  ///< of `upper`
};

/// TensorFlow's tf.image.resize, bilinear with half-pixel centres and no antialiasing, in its float32
/// arithmetic: s = in / out, src = (o + 0.5) s - 0.5, between floor(src) and ceil(src) clamped to the image.
std::vector<Tap> make_taps(int64_t in, int64_t out) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  std::vector<Tap> taps(static_cast<size_t>(out));
  for (int64_t o = 0; o < out; ++o) {
    const float source = (static_cast<float>(o) + 0.5F) * scale - 0.5F;
    const float floor = std::floor(source);
    taps[static_cast<size_t>(o)] = {std::max<int64_t>(static_cast<int64_t>(floor), 0),
                                    std::min<int64_t>(static_cast<int64_t>(std::ceil(source)), in - 1),
                                    source - floor};
  }
  return taps;
}

/// The 256 levels times `scale`.
std::array<float, 256> scaled_levels(float scale) {
  std::array<float, 256> levels{};
  for (size_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<float>(i) * scale;
  return levels;
}

float between(float a, float b, float weight) {
  return a + (b - a) * weight;
}

/// Input rows after the horizontal step. Output rows ask for two neighbours each and go down, so two rows are
/// remembered.
class RowCache {
 public:
  RowCache(const Image& image, const std::array<float, 256>& levels, const std::vector<Tap>& taps)
      : image_(image), levels_(levels), taps_(taps) {
    for (Row& row : rows_) row.values.resize(taps.size() * static_cast<size_t>(image.channels));
  }

  /// Both rows stay valid until the next call.
  std::pair<const float*, const float*> get(int64_t lower, int64_t upper) {
    Row* first = find(lower, upper);
    Row* second = lower == upper ? first : find(upper, lower);
    return {first->values.data(), second->values.data()};
  }

 private:
  struct Row {
    int64_t y = -1;
    std::vector<float> values;
  };

  Row* find(int64_t y, int64_t other) {
    for (Row& row : rows_) {
      if (row.y == y) return &row;
    }
    Row* row = rows_[0].y == other ? &rows_[1] : rows_.data();
    row->y = y;
    fill(row);
    return row;
  }

  void fill(Row* row) {
    const int64_t channels = image_.channels;
    const uint8_t* source = image_.pixels.data() + row->y * image_.width * channels;
    float* out = row->values.data();
    for (const Tap& tap : taps_) {
      const uint8_t* left = source + tap.lower * channels;
      const uint8_t* right = source + tap.upper * channels;
      for (int64_t c = 0; c < channels; ++c)
        *out++ = between(levels_[left[c]], levels_[right[c]], tap.weight);
    }
  }

  const Image& image_;
  const std::array<float, 256>& levels_;
  const std::vector<Tap>& taps_;
  std::array<Row, 2> rows_;
};

void resize(const Image& image, const InputContract& contract, const std::array<float, 256>& levels,
            float* out) {
  const std::vector<Tap> columns = make_taps(image.width, contract.width);
  const std::vector<Tap> rows = make_taps(image.height, contract.height);
  RowCache cache(image, levels, columns);
  const int64_t row_size = contract.width * contract.channels;
  for (const Tap& tap : rows) {
    const auto [top, bottom] = cache.get(tap.lower, tap.upper);
    for (int64_t i = 0; i < row_size; ++i) *out++ = between(top[i], bottom[i], tap.weight);
  }
}

}  // namespace

Status check_image_size(const Image& image, const InputContract& contract) {
  if (contract.resize != ResizePolicy::kExact ||
      (image.height == contract.height && image.width == contract.width)) {
    return {};
  }
  return {StatusCode::kBadData, "is " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                                    " pixels where exactly " + std::to_string(contract.width) + " x " +
                                    std::to_string(contract.height) + " are expected"};
}

Status image_to_input(const Image& image, const InputContract& contract, float* out) {
  if (image.height <= 0 || image.width <= 0 || image.channels != contract.channels || contract.height <= 0 ||
      contract.width <= 0 ||
      image.pixels.size() != static_cast<size_t>(image.height * image.width * image.channels)) {
    return {StatusCode::kInternal, "an image that does not fit its input contract reached image_to_input"};
  }
  NACRE_RETURN_IF_ERROR(check_image_size(image, contract));
  if (image.height == contract.height && image.width == contract.width) {
    scale_bytes(static_cast<int64_t>(image.pixels.size()), image.pixels.data(), contract.scale, out);
    return {};
  }
  resize(image, contract, scaled_levels(contract.scale), out);
  return {};
}

}  // namespace nacre
