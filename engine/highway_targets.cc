// The three functions of Highway's library that its headers call: which instruction sets this CPU has, and
// which one the kernels use. The library itself measures the timer's resolution when it is loaded, for its
// benchmarks: 3 ms of every process's start.
#include <hwy/highway.h>

#include <atomic>
#include <cstdint>

namespace hwy {
namespace {

std::atomic<int64_t> allowed{~int64_t{0}};

/// Of those that kernels are compiled for (nacre_kernels in cmake/compiler.cmake).
int64_t detect() {
  int64_t targets = HWY_SCALAR | HWY_EMU128;
#if HWY_ARCH_X86
  // What Highway compiles a target with. Every CPU with these has the little ones that came before: F16C,
  // LZCNT.
  const bool avx2 = (__builtin_cpu_supports("avx2") != 0) && (__builtin_cpu_supports("fma") != 0) &&
                    (__builtin_cpu_supports("bmi") != 0) && (__builtin_cpu_supports("bmi2") != 0) &&
                    (__builtin_cpu_supports("pclmul") != 0) && (__builtin_cpu_supports("aes") != 0);
  const bool avx512 = avx2 && (__builtin_cpu_supports("avx512f") != 0) &&
                      (__builtin_cpu_supports("avx512vl") != 0) &&
                      (__builtin_cpu_supports("avx512dq") != 0) &&
                      (__builtin_cpu_supports("avx512bw") != 0) && (__builtin_cpu_supports("avx512cd") != 0);
  if (avx2) targets |= HWY_AVX2;
  if (avx512) targets |= HWY_AVX3;
#endif
  return targets;
}

}  // namespace

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

int64_t SupportedTargets() {
  const int64_t targets = detect() & allowed;
  return targets == 0 ? HWY_STATIC_TARGET : targets;
}

void DisableTargets(int64_t disabled_targets) {
  allowed = ~disabled_targets;
  GetChosenTarget().DeInit();
}

}  // namespace hwy
