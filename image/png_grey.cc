#include "image/png_grey.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "image/png_colour.h"

namespace nacre {
namespace {

constexpr int kWeightBits = 15;
constexpr uint32_t kHalf = 1U << (kWeightBits - 1);

/// 0.299 red + 0.587 green + the rest blue, times 2^15.
uint32_t weighed(uint32_t red, uint32_t green, uint32_t blue) {
  constexpr uint32_t kRed = 29900U * (1U << kWeightBits) / 100000U;
  constexpr uint32_t kGreen = 58700U * (1U << kWeightBits) / 100000U;
  constexpr uint32_t kBlue = (1U << kWeightBits) - kRed - kGreen;
  return kRed * red + kGreen * green + kBlue * blue;
}

double rounded(double value) {
  return std::floor(value + 0.5);
}

int64_t reciprocal(int64_t gamma) {
  return static_cast<int64_t>(rounded(1e10 / static_cast<double>(gamma)));
}

/// `level`, from 0 to `max`, to the power of gamma.
double curved(double level, double max, int64_t gamma) {
  return rounded(max * std::pow(level / max, static_cast<double>(gamma) * 1e-5));
}

/// The exponents that light comes out of samples by, and samples out of light.
struct Gammas {
  explicit Gammas(int64_t file) : to_light(reciprocal(file)), from_light(reciprocal(to_light)) {}
  int64_t to_light;
  int64_t from_light;
};

bool converts(int64_t gamma) {
  return gamma != 0 && (is_significant_gamma(gamma) || is_significant_gamma(reciprocal(gamma)));
}

using Table8 = std::array<uint8_t, 256>;

Table8 table8(int64_t gamma) {
  Table8 table{};
  for (size_t i = 0; i < table.size(); ++i) {
    const auto level = static_cast<double>(i);
    table[i] = static_cast<uint8_t>(is_significant_gamma(gamma) ? curved(level, 255, gamma) : level);
  }
  return table;
}

// Tables of 16-bit levels have an entry for every 2^shift of them.

std::vector<uint32_t> table16(int shift, int64_t gamma) {
  std::vector<uint32_t> table(size_t{1} << (16 - shift));
  const auto max = static_cast<uint32_t>(table.size() - 1);
  const double exponent = static_cast<double>(gamma) * 1e-5;
  for (uint32_t i = 0; i <= max; ++i) {
    table[i] = is_significant_gamma(gamma)
                   ? static_cast<uint32_t>(rounded(65535 * std::pow(i * (1.0 / max), exponent)))
                   : (i * 65535 + (max + 1) / 2) / max;
  }
  return table;
}

/// Of levels that stay what they are: 8-bit levels times 257, each up to the middle between it and the next.
std::vector<uint32_t> table16_of_8(int shift, const Gammas& gammas, int64_t file) {
  std::vector<uint32_t> table(size_t{1} << (16 - shift), 65535);
  const auto max = static_cast<uint32_t>(table.size() - 1);
  const auto both =
      static_cast<int64_t>(rounded(static_cast<double>(file) * 1e-5 * static_cast<double>(gammas.to_light)));
  uint32_t next = 0;
  for (uint32_t level = 0; level < 255; ++level) {
    const auto middle = static_cast<uint32_t>(curved(level * 257 + 128, 65535, both));
    const uint32_t bound = (middle * max + 32768) / 65535 + 1;
    for (; next < bound && next <= max; ++next) table[next] = level * 257;
  }
  return table;
}

}  // namespace

void grey_of_rgb(std::span<const uint8_t> rgb, int64_t gamma, uint8_t* grey) {
  if (!converts(gamma)) {
    for (size_t i = 0; i + 2 < rgb.size(); i += 3)
      *grey++ = static_cast<uint8_t>(weighed(rgb[i], rgb[i + 1], rgb[i + 2]) >> kWeightBits);
    return;
  }
  const Gammas gammas(gamma);
  const Table8 light = table8(gammas.to_light);
  const Table8 level = table8(gammas.from_light);
  for (size_t i = 0; i + 2 < rgb.size(); i += 3) {
    const uint8_t red = rgb[i];
    const uint8_t green = rgb[i + 1];
    const uint8_t blue = rgb[i + 2];
    *grey++ = red == green && red == blue
                  ? red
                  : level[(weighed(light[red], light[green], light[blue]) + kHalf) >> kWeightBits];
  }
}

void grey_of_rgb(std::span<const uint16_t> rgb, int64_t gamma, int significant_bits, uint8_t* grey) {
  if (!converts(gamma)) {
    for (size_t i = 0; i + 2 < rgb.size(); i += 3)
      *grey++ = static_cast<uint8_t>((weighed(rgb[i], rgb[i + 1], rgb[i + 2]) + kHalf) >> (kWeightBits + 8));
    return;
  }
  constexpr int kMinShift = 5;
  constexpr int kMaxShift = 8;
  const int shift =
      std::clamp(significant_bits > 0 ? 16 - significant_bits : kMinShift, kMinShift, kMaxShift);
  const Gammas gammas(gamma);
  const std::vector<uint32_t> light = table16(shift, gammas.to_light);
  const std::vector<uint32_t> level = table16(shift, gammas.from_light);
  const std::vector<uint32_t> same = table16_of_8(shift, gammas, gamma);
  for (size_t i = 0; i + 2 < rgb.size(); i += 3) {
    const auto [red, green, blue] = std::array{rgb[i], rgb[i + 1], rgb[i + 2]};
    if (red == green && red == blue) {
      *grey++ = static_cast<uint8_t>(same[red >> shift] >> 8);
      continue;
    }
    const uint32_t mixed =
        (weighed(light[red >> shift], light[green >> shift], light[blue >> shift]) + kHalf) >> kWeightBits;
    *grey++ = static_cast<uint8_t>(level[mixed >> shift] >> 8);
  }
}

}  // namespace nacre
