#include "bench/report.h"

#include "engine/machine_peak.h"

namespace nacre {
namespace {

void report(benchmark::State& state, const char* unit, double amount, double peak) {
  constexpr auto kRate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters[unit] = benchmark::Counter(1e-9 * amount, kRate);
  state.counters["peak"] = benchmark::Counter(amount / peak, kRate);
}

}  // namespace

void report_flops(benchmark::State& state, int64_t flops, int threads) {
  report(state, "GFLOP/s", static_cast<double>(flops), peak_flops(threads));
}

void report_bytes(benchmark::State& state, int64_t bytes, int threads) {
  report(state, "GB/s", static_cast<double>(bytes), peak_bandwidth(threads));
}

}  // namespace nacre
