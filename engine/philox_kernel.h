#pragma once

#include <array>
#include <cstdint>

namespace nacre {

/// out[4 i .. 4 i + 3] = philox(key, {low half of first + i, high half, high[0], high[1]}) for i in [0,
/// blocks), several at a time, with run-time dispatch as in engine/gemm.h.
void philox_blocks(std::array<uint32_t, 2> key, uint64_t first, std::array<uint32_t, 2> high, uint64_t blocks,
                   uint32_t* out);

}  // namespace nacre
