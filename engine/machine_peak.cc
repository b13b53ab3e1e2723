#include "engine/machine_peak.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace nacre {
namespace {

constexpr int kChains = 12;
constexpr int kRepeat = 100000;
constexpr int kTries = 10;
constexpr size_t kStreamFloats = (size_t{64} << 20) / sizeof(float);

// The chains begin with different numbers, or the compiler would make one of them, and their sum is returned,
// or it would make none.
[[gnu::target("avx512f")]] float chains_avx512() {
  const __m512 factor = _mm512_set1_ps(0.999F);
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int i = 0; i < kRepeat; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  float all = 0;
  for (auto& sum : sums) all += sum[0];
  return all;
}

[[gnu::target("avx2,fma")]] float chains_avx2() {
  const __m256 factor = _mm256_set1_ps(0.999F);
  __m256 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int i = 0; i < kRepeat; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  float all = 0;
  for (auto& sum : sums) all += sum[0];
  return all;
}

/// Every x86-64 CPU's vectors, which multiply and add one after the other.
float chains_baseline() {
  const __m128 factor = _mm_set1_ps(0.999F);
  __m128 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm_set1_ps(static_cast<float>(i));
  for (int i = 0; i < kRepeat; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm_add_ps(_mm_mul_ps(sum, factor), factor);
  }
  float all = 0;
  for (auto& sum : sums) all += sum[0];
  return all;
}

struct Chains {
  float (*run)();
  int lanes;
};

Chains best_chains() {
  if (__builtin_cpu_supports("avx512f")) return {chains_avx512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {chains_avx2, 8};
  return {chains_baseline, 4};
}

/// The compiler must make `value`, whatever becomes of it.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "m"(value) : "memory");
}

/// `amount` per second of the best of some tries, each of `run(thread)` on all threads at once.
template <typename Run>
double best_rate(int threads, double amount, const Run& run) {
  double least = 1e9;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel num_threads(threads)
    run(omp_get_thread_num());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    least = std::min(least, took.count());
  }
  return amount * threads / least;
}

double measure_flops(int threads) {
  const Chains chains = best_chains();
  return best_rate(threads, 2.0 * chains.lanes * kChains * kRepeat, [&](int) { keep(chains.run()); });
}

double measure_bandwidth(int threads) {
  std::vector<std::vector<float>> streams(static_cast<size_t>(threads));
  for (auto& stream : streams) stream.assign(kStreamFloats, 1.0F);
  return best_rate(threads, static_cast<double>(kStreamFloats * sizeof(float)), [&](int thread) {
    const float* from = streams[static_cast<size_t>(thread)].data();
    __m128 sums[8] = {};
    for (size_t i = 0; i < kStreamFloats; i += 32) {
#pragma GCC unroll 8
      for (size_t j = 0; j < 8; ++j) sums[j] = _mm_add_ps(sums[j], _mm_loadu_ps(from + i + 4 * j));
    }
    for (auto& sum : sums) keep(sum);
  });
}

}  // namespace

double peak_flops(int threads) {
  static std::map<int, double> known;
  const auto [at, is_new] = known.try_emplace(threads, 0.0);
  if (is_new) at->second = measure_flops(threads);
  return at->second;
}

double peak_bandwidth(int threads) {
  static std::map<int, double> known;
  const auto [at, is_new] = known.try_emplace(threads, 0.0);
  if (is_new) at->second = measure_bandwidth(threads);
  return at->second;
}

}  // namespace nacre
