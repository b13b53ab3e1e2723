#include "train/augment.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace nacre {
namespace {

constexpr const char* kKnown =
    "known are flip, brightness=D, contrast=LOW:HIGH, hue=D, saturation=LOW:HIGH, crop=PIXELS, or none";
constexpr float kMaxHue = 0.5F;
constexpr int64_t kMaxCrop = 1 << 14;
// The numbers of the stream, one for each kind of change.
enum Draw : uint64_t { kFlip, kBrightness, kContrast, kHue, kSaturation, kCropRow, kCropColumn };
constexpr size_t kRgb = 3;

Status bad_item(std::string_view item, const std::string& reason) {
  return {StatusCode::kUsage, "augmentation '" + std::string(item) + "': " + reason + "; " + kKnown};
}

bool parse_float(std::string_view text, float& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

Status parse_delta(std::string_view item, std::string_view value, float most, std::optional<float>& out) {
  float delta = 0.0F;
  if (!parse_float(value, delta)) return bad_item(item, "expected a number after '='");
  if (delta < 0.0F) return bad_item(item, "the number must not be negative");
  if (delta > most) return bad_item(item, "the number must not be more than 0.5");
  out = delta;
  return {};
}

Status parse_range(std::string_view item, std::string_view value, std::optional<FactorRange>& out) {
  const size_t colon = value.find(':');
  FactorRange range;
  if (colon == std::string_view::npos || !parse_float(value.substr(0, colon), range.low) ||
      !parse_float(value.substr(colon + 1), range.high)) {
    return bad_item(item, "expected LOW:HIGH after '='");
  }
  if (range.low < 0.0F || range.high <= range.low) return bad_item(item, "expected 0 <= LOW < HIGH");
  out = range;
  return {};
}

Status parse_crop(std::string_view item, std::string_view value, int64_t& out) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error == std::errc() && end == value.data() + value.size() && out >= 1 && out <= kMaxCrop) return {};
  return bad_item(item, "expected a number of pixels from 1 to " + std::to_string(kMaxCrop) + " after '='");
}

std::string text_of(float value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

std::string text_of(const FactorRange& range) {
  return text_of(range.low) + ":" + text_of(range.high);
}

// Uniform in [low, high): rounding must not reach the end that is excluded.
float draw(const RandomStream& random, Draw which, float low, float high) {
  const float value = low + random.uniform(which) * (high - low);
  return value < high ? value : std::nextafter(high, low);
}

// Uniform among -most, ..., most.
int64_t draw_shift(const RandomStream& random, Draw which, int64_t most) {
  // In double the product stays below 2 most + 1.
  return static_cast<int64_t>(static_cast<double>(random.uniform(which)) *
                              static_cast<double>(2 * most + 1)) -
         most;
}

}  // namespace

Result<Augmentation> Augmentation::parse(std::string_view text) {
  Augmentation result;
  if (text == "none") return result;
  std::vector<std::string_view> seen;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t equals = item.find('=');
    const std::string_view name = item.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return bad_item(item, "given twice");
    seen.push_back(name);
    if (name == "flip") {
      if (equals != std::string_view::npos) return bad_item(item, "takes no value");
      result.flip = true;
    } else if (name == "brightness") {
      NACRE_RETURN_IF_ERROR(parse_delta(item, value, HUGE_VALF, result.brightness));
    } else if (name == "contrast") {
      NACRE_RETURN_IF_ERROR(parse_range(item, value, result.contrast));
    } else if (name == "hue") {
      NACRE_RETURN_IF_ERROR(parse_delta(item, value, kMaxHue, result.hue));
    } else if (name == "saturation") {
      NACRE_RETURN_IF_ERROR(parse_range(item, value, result.saturation));
    } else if (name == "crop") {
      NACRE_RETURN_IF_ERROR(parse_crop(item, value, result.crop));
    } else {
      return bad_item(item, "unknown");
    }
    if (comma == std::string_view::npos) return result;
    text.remove_prefix(comma + 1);
  }
}

std::string Augmentation::to_string() const {
  std::string text;
  const auto add = [&text](const std::string& item) { text += (text.empty() ? "" : ",") + item; };
  if (flip) add("flip");
  if (brightness) add("brightness=" + text_of(*brightness));
  if (contrast) add("contrast=" + text_of(*contrast));
  if (hue) add("hue=" + text_of(*hue));
  if (saturation) add("saturation=" + text_of(*saturation));
  if (crop > 0) add("crop=" + std::to_string(crop));
  return text.empty() ? "none" : text;
}

Status Augmentation::check(const InputContract& input) const {
  if (input.channels != static_cast<int64_t>(kRgb) && (hue || saturation)) {
    return {StatusCode::kUsage, std::string("augmentation '") + (hue ? "hue" : "saturation") +
                                    "': needs colour images of 3 channels, the network takes " +
                                    std::to_string(input.channels)};
  }
  if (crop > 0 && crop >= std::min(input.height, input.width)) {
    return {StatusCode::kUsage, "augmentation 'crop': " + std::to_string(crop) +
                                    " pixels would leave nothing of images of " +
                                    std::to_string(input.width) + "x" + std::to_string(input.height)};
  }
  return {};
}

bool Augmentation::any() const {
  return *this != Augmentation();
}

RandomStream augment_stream(uint64_t seed, int64_t epoch, int64_t sample) {
  return {seed, hash_name(std::string_view("augment")), static_cast<uint64_t>(epoch),
          static_cast<uint64_t>(sample)};
}

void augment(const Augmentation& augmentation, const RandomStream& random, float* image, int64_t height,
             int64_t width, int64_t channels) {
  const int64_t pixels = height * width;
  if (augmentation.flip && random.uniform(kFlip) < 0.5F) flip_left_right(image, height, width, channels);
  if (augmentation.brightness) {
    const float d = *augmentation.brightness;
    adjust_brightness(image, pixels * channels, draw(random, kBrightness, -d, d));
  }
  if (augmentation.contrast) {
    const FactorRange& range = *augmentation.contrast;
    adjust_contrast(image, pixels, channels, draw(random, kContrast, range.low, range.high));
  }
  if (augmentation.hue) {
    const float d = *augmentation.hue;
    adjust_hue(image, pixels, draw(random, kHue, -d, d));
  }
  if (augmentation.saturation) {
    const FactorRange& range = *augmentation.saturation;
    adjust_saturation(image, pixels, draw(random, kSaturation, range.low, range.high));
  }
  if (augmentation.crop > 0) {
    shift_image(image, height, width, channels, draw_shift(random, kCropRow, augmentation.crop),
                draw_shift(random, kCropColumn, augmentation.crop));
  }
}

void flip_left_right(float* image, int64_t height, int64_t width, int64_t channels) {
  const auto flip_rows = [&]<size_t kChannels>(std::array<float, kChannels>* pixels) {
    for (int64_t y = 0; y < height; ++y, pixels += width) std::reverse(pixels, pixels + width);
  };
  if (channels == 1) {
    flip_rows(reinterpret_cast<std::array<float, 1>*>(image));
  } else {
    flip_rows(reinterpret_cast<std::array<float, kRgb>*>(image));
  }
}

void shift_image(float* image, int64_t height, int64_t width, int64_t channels, int64_t dy, int64_t dx) {
  const int64_t row = width * channels;
  const int64_t kept = (width - std::abs(dx)) * channels;
  const int64_t from = std::max<int64_t>(-dx, 0) * channels;
  const int64_t to = std::max<int64_t>(dx, 0) * channels;
  // Rows in the order in which none is overwritten before it was moved.
  for (int64_t k = 0; k < height; ++k) {
    const int64_t y = dy > 0 ? height - 1 - k : k;
    float* target = image + y * row;
    if (y - dy < 0 || y - dy >= height) {
      std::fill_n(target, row, 0.0F);
      continue;
    }
    const float* source = image + (y - dy) * row;
    std::memmove(target + to, source + from, static_cast<size_t>(kept) * sizeof(float));
    std::fill_n(target, to, 0.0F);
    std::fill_n(target + to + kept, row - to - kept, 0.0F);
  }
}

}  // namespace nacre
