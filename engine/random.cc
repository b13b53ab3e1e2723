#include "engine/random.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/philox_kernel.h"

namespace nacre {
namespace {

uint32_t low(uint64_t x) {
  return static_cast<uint32_t>(x);
}
uint32_t high(uint64_t x) {
  return static_cast<uint32_t>(x >> 32U);
}

double polynomial(std::span<const double> coefficients, double x) {
  double sum = 0;
  for (size_t i = coefficients.size(); i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

/// Natural logarithm of a positive normal number by 2 atanh((m - 1) / (m + 1)). The C library's may differ in
/// the last bit between machines, and initial weights must not.
double portable_log(double x) {
  constexpr double kLn2 = 0.693147180559945309417232121458;
  constexpr double kSqrtHalf = 0.707106781186547524400844362105;
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < kSqrtHalf) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  double series = 0;
  for (int odd = 25; odd >= 1; odd -= 2) series = series * (s * s) + 1.0 / odd;
  return exponent * kLn2 + 2 * s * series;
}

/// The standard normal quantile of p in (0, 1), to about 1e-16: routine PPND16 of M. J. Wichura, "Algorithm
/// AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988). Its branch for p
/// < exp(-25) is left out.
double normal_quantile(double p) {
  constexpr std::array kCentralNumerator{
      3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
      4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3};
  constexpr std::array kCentralDenominator{1.0,
                                           4.2313330701600911252e+1,
                                           6.8718700749205790830e+2,
                                           5.3941960214247511077e+3,
                                           2.1213794301586595867e+4,
                                           3.9307895800092710610e+4,
                                           2.8729085735721942674e+4,
                                           5.2264952788528545610e+3};
  constexpr std::array kTailNumerator{1.42343711074968357734e0,  4.63033784615654529590e0,
                                      5.76949722146069140550e0,  3.64784832476320460504e0,
                                      1.27045825245236838258e0,  2.41780725177450611770e-1,
                                      2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr std::array kTailDenominator{1.0,
                                        2.05319162663775882187e0,
                                        1.67638483018380384940e0,
                                        6.89767334985100004550e-1,
                                        1.48103976427480074590e-1,
                                        1.51986665636164571966e-2,
                                        5.47593808499534494600e-4,
                                        1.05075007164441684324e-9};
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kCentralNumerator, r) / polynomial(kCentralDenominator, r);
  }
  const double r = std::sqrt(-portable_log(q < 0 ? p : 1 - p)) - 1.6;
  const double magnitude = polynomial(kTailNumerator, r) / polynomial(kTailDenominator, r);
  return q < 0 ? -magnitude : magnitude;
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kPhiloxMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kPhiloxWeyl0;
    key[1] += kPhiloxWeyl1;
  }
  return counter;
}

// Philox itself hashes the name into a key; the low halves of a and b stay in the counter, so that streams of
// one seed and purpose never share numbers.
RandomStream::RandomStream(uint64_t seed, uint64_t purpose, uint64_t a, uint64_t b) : high_{low(a), low(b)} {
  const auto hash = philox({low(seed), high(seed)}, {low(purpose), high(purpose), high(a), high(b)});
  key_ = {hash[0], hash[1]};
}

uint32_t RandomStream::bits(uint64_t i) const {
  const uint64_t block = i / 4;
  return philox(key_, {low(block), high(block), high_[0], high_[1]})[i % 4];
}

float RandomStream::uniform(uint64_t i) const {
  return static_cast<float>(bits(i) >> 8U) * 0x1p-24F;
}

double RandomStream::uniform_double(uint64_t i) const {
  const uint64_t random = (uint64_t{bits(2 * i)} << 32U) | bits(2 * i + 1);
  // 52 bits and a half: exact, and neither 0 nor 1.
  return (static_cast<double>(random >> 12U) + 0.5) * 0x1p-52;
}

uint64_t RandomStream::below(uint64_t i, uint64_t n) const {
  __extension__ using Wide = unsigned __int128;
  const uint64_t random = (uint64_t{bits(2 * i)} << 32U) | bits(2 * i + 1);
  return static_cast<uint64_t>((Wide{random} * n) >> 64U);
}

float RandomStream::truncated_normal(uint64_t i) const {
  constexpr double kBelowMinusTwo = 0.022750131948179207200;  // the normal distribution function at -2
  const double p = kBelowMinusTwo + uniform_double(i) * (1 - 2 * kBelowMinusTwo);
  return static_cast<float>(std::clamp(normal_quantile(p), -2.0, 2.0));
}

void RandomStream::fill_bits(uint64_t first, uint64_t count, uint32_t* out) const {
  uint64_t done = 0;
  for (; done < count && (first + done) % 4 != 0; ++done) out[done] = bits(first + done);
  const uint64_t blocks = (count - done) / 4;
  philox_blocks(key_, (first + done) / 4, high_, blocks, out + done);
  done += 4 * blocks;
  for (; done < count; ++done) out[done] = bits(first + done);
}

}  // namespace nacre
