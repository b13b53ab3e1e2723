#include "image/png_colour.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace nacre {
namespace {

constexpr int64_t kOne = 100000;  // chunks hold fractions as multiples of 1/100,000
constexpr int64_t kMinGamma = 16;
constexpr int64_t kMaxGamma = 625000000;
constexpr int64_t kSrgbGamma = 45455;
constexpr int kIntents = 4;

int64_t number_at(std::span<const std::byte> bytes, size_t i) {
  int64_t number = 0;
  for (size_t k = 0; k < 4; ++k) number = number << 8 | std::to_integer<int64_t>(bytes[i + k]);
  return number;
}

/// a * b / divisor, rounded; nothing when that is no number of 32 bits.
std::optional<int64_t> scaled(int64_t a, int64_t b, int64_t divisor) {
  if (divisor == 0) return std::nullopt;
  const double rounded =
      std::floor(static_cast<double>(a) * static_cast<double>(b) / static_cast<double>(divisor) + 0.5);
  constexpr double kMin = std::numeric_limits<int32_t>::min();
  constexpr double kMax = std::numeric_limits<int32_t>::max();
  return rounded >= kMin && rounded <= kMax ? std::optional(static_cast<int64_t>(rounded)) : std::nullopt;
}

struct Point {
  int64_t x = 0;
  int64_t y = 0;

  [[nodiscard]] bool is_possible() const { return x <= kOne && y <= kOne - x; }
  [[nodiscard]] Point operator-(const Point& other) const { return {x - other.x, y - other.y}; }
};

/// A colour's three components (X, Y, Z).
struct Colour {
  int64_t x = 0;
  int64_t y = 0;
  int64_t z = 0;

  static std::optional<Colour> make(const Point& point, int64_t factor, int64_t divisor) {
    const auto x = scaled(point.x, factor, divisor);
    const auto y = scaled(point.y, factor, divisor);
    const auto z = scaled(kOne - point.x - point.y, factor, divisor);
    if (!x.has_value() || !y.has_value() || !z.has_value()) return std::nullopt;
    return Colour{*x, *y, *z};
  }
  /// Whether its place is `point`, but for rounding.
  [[nodiscard]] bool lies_at(const Point& point) const {
    constexpr int64_t kSlip = 5;
    const int64_t sum = x + y + z;
    const auto at_x = scaled(x, kOne, sum);
    const auto at_y = scaled(y, kOne, sum);
    return at_x.has_value() && at_y.has_value() && std::abs(*at_x - point.x) <= kSlip &&
           std::abs(*at_y - point.y) <= kSlip;
  }
};

/// p.x q.y - p.y q.x, divided by what keeps it in 32 bits.
int64_t cross(const Point& p, const Point& q) {
  constexpr int64_t kDivisor = 7;
  return scaled(p.x, q.y, kDivisor).value_or(0) - scaled(p.y, q.x, kDivisor).value_or(0);
}

/// Whether three colours of light at these places can be mixed to this white, whose Y is one: solves
/// white = red * r + green * g + blue * b with r + g + b = 1 / white.y in libpng's fixed point, and sees
/// whether the places come back.
bool can_be_mixed(const Point& white, const Point& red, const Point& green, const Point& blue) {
  constexpr int64_t kMinWhiteY = 5;
  const auto is_possible = [](const Point& point) { return point.is_possible(); };
  if (!std::ranges::all_of(std::array{white, red, green, blue}, is_possible) || white.y < kMinWhiteY)
    return false;
  const int64_t determinant = cross(green - blue, red - blue);
  const auto per_red = scaled(white.y, determinant, cross(green - blue, white - blue));
  const auto per_green = scaled(white.y, determinant, cross(white - blue, red - blue));
  if (!per_red.has_value() || *per_red <= white.y || !per_green.has_value() || *per_green <= white.y)
    return false;
  const auto reciprocal = [](int64_t value) { return scaled(kOne, kOne, value).value_or(0); };
  const int64_t blue_scale = reciprocal(white.y) - reciprocal(*per_red) - reciprocal(*per_green);
  if (blue_scale <= 0) return false;
  const auto r = Colour::make(red, kOne, *per_red);
  const auto g = Colour::make(green, kOne, *per_green);
  const auto b = Colour::make(blue, blue_scale, kOne);
  if (!r.has_value() || !g.has_value() || !b.has_value()) return false;
  const Colour mixed{r->x + g->x + b->x, r->y + g->y + b->y, r->z + g->z + b->z};
  return r->lies_at(red) && g->lies_at(green) && b->lies_at(blue) && mixed.lies_at(white);
}

}  // namespace

void PngColour::take(std::string_view type, std::span<const std::byte> payload, int channels, int bit_depth) {
  constexpr size_t kChromaticityBytes = 32;
  if (type == "gAMA" && payload.size() == 4) {
    take_gamma(number_at(payload, 0));
  } else if (type == "sRGB" && payload.size() == 1) {
    take_srgb(std::to_integer<int>(payload[0]));
  } else if (type == "cHRM" && payload.size() == kChromaticityBytes) {
    take_chromaticities(payload);
  } else if (type == "sBIT" && payload.size() == static_cast<size_t>(channels)) {
    take_significant_bits(payload, bit_depth);
  }
}

void PngColour::take_gamma(int64_t value) {
  if (value < kMinGamma || value > kMaxGamma || seen_gamma_) {
    distrusted_ = true;
    return;
  }
  if (distrusted_) return;
  if (seen_srgb_) {
    // Kept when it is about what sRGB says.
    const auto ratio = scaled(gamma_, kOne, value);
    if (!ratio.has_value() || is_significant_gamma(*ratio)) return;
  }
  gamma_ = value;
  seen_gamma_ = true;
}

void PngColour::take_srgb(int intent) {
  if (distrusted_) return;
  if (seen_srgb_ || intent >= kIntents) {
    distrusted_ = true;
    return;
  }
  seen_srgb_ = true;
  gamma_ = kSrgbGamma;
}

void PngColour::take_chromaticities(std::span<const std::byte> payload) {
  std::array<Point, 4> points;  // white, red, green, blue
  for (size_t i = 0; i < points.size(); ++i) {
    points[i] = {number_at(payload, 8 * i), number_at(payload, 8 * i + 4)};
    constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
    if (points[i].x > kMax || points[i].y > kMax) return;
  }
  const auto& [white, red, green, blue] = points;
  constexpr Point kSrgbWhite{31270, 32900};
  constexpr Point kSrgbRed{64000, 33000};
  constexpr Point kSrgbGreen{30000, 60000};
  constexpr Point kSrgbBlue{15000, 6000};
  const auto is_near = [](const Point& a, const Point& b) {
    constexpr int64_t kSlip = 100;
    return std::abs(a.x - b.x) <= kSlip && std::abs(a.y - b.y) <= kSlip;
  };
  const bool agrees = !seen_srgb_ || (is_near(white, kSrgbWhite) && is_near(red, kSrgbRed) &&
                                      is_near(green, kSrgbGreen) && is_near(blue, kSrgbBlue));
  if (seen_chromaticities_ || !agrees || !can_be_mixed(white, red, green, blue)) distrusted_ = true;
  seen_chromaticities_ = true;
}

void PngColour::take_significant_bits(std::span<const std::byte> payload, int bit_depth) {
  if (significant_bits_ != 0) return;
  const auto is_depth = [&](std::byte bits) {
    return bits != std::byte{0} && std::to_integer<int>(bits) <= bit_depth;
  };
  if (!std::ranges::all_of(payload, is_depth)) return;
  constexpr size_t kColours = 3;
  for (const std::byte bits : payload.first(std::min(payload.size(), kColours))) {
    significant_bits_ = std::max(significant_bits_, std::to_integer<int>(bits));
  }
}

}  // namespace nacre
