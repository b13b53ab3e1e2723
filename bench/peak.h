#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace nacre {

/// What the machine can reach at all, measured once in this process (a tenth of a second each), with that
/// many threads at the same time. Independent fused multiply-adds in registers, of the widest vectors of this
/// CPU: floating-point operations a second.
double peak_flops(int threads);
/// Reading 64 MiB a thread over and over, which no cache of two levels holds: bytes a second.
double peak_bandwidth(int threads);

/// Sets a benchmark's counters: GFLOP/s and "peak", the share of peak_flops, for an iteration of `flops`
/// operations. Of the plain algorithm: ways with fewer multiplications may pass 1.
void report_flops(benchmark::State& state, int64_t flops, int threads);
/// The same for an iteration that reads and writes `bytes`: GB/s, and "peak" as the share of peak_bandwidth;
/// what stays in a cache may pass 1.
void report_bytes(benchmark::State& state, int64_t bytes, int threads);

}  // namespace nacre
