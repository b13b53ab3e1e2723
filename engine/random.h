#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nacre {

/// Counter-based random numbers (Philox4x32-10; Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
/// as 1, 2, 3", SC11): a pure function of key and counter, with no state, so that any sample of any epoch can
/// be drawn at any time, by any thread, with the same result on every machine.
std::array<uint32_t, 4> philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter);
inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85;

/// One stream of random numbers, named by what it is for. Value type; copying is free.
class RandomStream {
 public:
  /// The stream of (seed, purpose, a, b): `purpose` tells uses apart (hash_name("dropout")), `a` and `b` are
  /// what the use counts, such as epoch and sample.
  RandomStream(uint64_t seed, uint64_t purpose, uint64_t a = 0, uint64_t b = 0);

  /// The i-th 32 random bits of the stream.
  [[nodiscard]] uint32_t bits(uint64_t i) const;
  /// The i-th number, uniform in [0, 1), a multiple of 2^-24.
  [[nodiscard]] float uniform(uint64_t i) const;
  /// The i-th number, uniform in (0, 1), with 53 bits (uses bits 2i and 2i+1).
  [[nodiscard]] double uniform_double(uint64_t i) const;
  /// The i-th number, uniform in [0, n), without bias worth naming (multiply-shift on 64 bits). Requires n
  /// >= 1.
  [[nodiscard]] uint64_t below(uint64_t i, uint64_t n) const;
  /// The i-th number of a normal distribution of mean 0 and deviation 1 truncated to [-2, 2] (by inverse
  /// distribution function: Wichura's AS 241), as TensorFlow's and Keras's truncated normal.
  [[nodiscard]] float truncated_normal(uint64_t i) const;
  /// Fills out[0..count) with bits(first), bits(first + 1), ...; faster than one by one.
  void fill_bits(uint64_t first, uint64_t count, uint32_t* out) const;

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 2> high_;
};

/// 64-bit FNV-1a hash of a name: the same on every machine and for ever, since random streams are keyed by
/// it.
constexpr uint64_t hash_name(const char* name, size_t length) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (size_t i = 0; i < length; ++i) {
    hash ^= static_cast<unsigned char>(name[i]);
    hash *= 0x100000001b3ULL;
  }
  return hash;
}
template <typename StringLike>
constexpr uint64_t hash_name(const StringLike& name) {
  return hash_name(name.data(), name.size());
}

}  // namespace nacre
