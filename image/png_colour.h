#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace nacre {

/// What the ancillary chunks gAMA, sRGB, cHRM and sBIT of a PNG say about its samples, as libpng 1.6.39 (that
/// of TensorFlow 2.21) understands them when they contradict each other or are wrong. The profile of an iCCP
/// chunk is passed over: libpng takes a few that it knows by their checksums for an sRGB chunk, and believes
/// no later chunk after one that is malformed.
class PngColour {
 public:
  /// Takes the next chunk that precedes PLTE and IDAT and whose checksum is right; others are to be left out.
  /// `channels` and `bit_depth` are those of the image's samples. Malformed and other chunks are passed over.
  void take(std::string_view type, std::span<const std::byte> payload, int channels, int bit_depth);

  /// The exponent that encoded the samples, times 100,000; 0 when nothing tells it.
  [[nodiscard]] int64_t gamma() const { return gamma_; }
  /// The most bits that a sample of any colour has a meaning in; 0 when nothing tells it.
  [[nodiscard]] int significant_bits() const { return significant_bits_; }

 private:
  void take_gamma(int64_t value);
  void take_srgb(int intent);
  void take_chromaticities(std::span<const std::byte> payload);
  void take_significant_bits(std::span<const std::byte> payload, int bit_depth);

  int64_t gamma_ = 0;
  int significant_bits_ = 0;
  bool seen_gamma_ = false;
  bool seen_srgb_ = false;
  bool seen_chromaticities_ = false;
  bool distrusted_ = false;  ///< something contradicted itself: what follows says nothing about gamma
};

/// Whether an exponent (times 100,000) is so far from 1 that samples are converted.
[[nodiscard]] constexpr bool is_significant_gamma(int64_t gamma) {
  return gamma < 95000 || gamma > 105000;
}

}  // namespace nacre
