#include "engine/zeroed_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace nacre {
namespace {

TEST(ZeroedBytes, AreZeroAlignedAndKeptByMoves) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{1000}, size_t{3} << 20}) {
    ZeroedBytes first(bytes);
    std::byte* const data = first.data();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % kAlignment, 0U);
    EXPECT_TRUE(std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{0}; }));
    std::fill_n(data, bytes, std::byte{1});
    const ZeroedBytes second = std::move(first);
    EXPECT_EQ(second.data(), data);
    EXPECT_EQ(second.size(), bytes);
  }
}

}  // namespace
}  // namespace nacre
