#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace nacre {

/// Sets a benchmark's counters: GFLOP/s and "peak", the share of peak_flops (engine/machine_peak.h), for an
/// iteration of `flops` operations. Of the plain algorithm: ways with fewer multiplications may pass 1.
void report_flops(benchmark::State& state, int64_t flops, int threads);
/// The same for an iteration that reads and writes `bytes`: GB/s, and "peak" as the share of peak_bandwidth;
/// what stays in a cache may pass 1.
void report_bytes(benchmark::State& state, int64_t bytes, int threads);

}  // namespace nacre
