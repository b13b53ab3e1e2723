#pragma once

namespace nacre {

/// What the machine can reach at all, measured once in this process (a tenth of a second each), with that
/// many threads at the same time; one caller at a time. Independent fused multiply-adds in registers, of the
/// widest vectors of this CPU: floating-point operations a second.
double peak_flops(int threads);
/// Reading 64 MiB a thread over and over, which no cache of two levels holds: bytes a second.
double peak_bandwidth(int threads);

}  // namespace nacre
