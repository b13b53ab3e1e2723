#include "serve/input_stack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace nacre {
namespace {

TEST(InputStack, WhatIsTakenWithinLiesBehind) {
  const StackedInputs outer(7);
  const float* within = nullptr;
  {
    const StackedInputs inner(5);
    const StackedInputs innermost(3);
    within = inner.floats().data();
    EXPECT_EQ(within, outer.floats().data() + 7);
    EXPECT_EQ(innermost.floats().data(), within + 5);
    EXPECT_EQ(innermost.floats().size(), 3U);
  }
  EXPECT_EQ(StackedInputs(9).floats().data(), within) << "what is given back is taken again";
}

TEST(InputStack, WhatDoesNotFitHasItsOwnMemory) {
  const StackedInputs outer(kInputStackFloats - 4);
  const StackedInputs large(5);
  std::ranges::fill(large.floats(), 1.0F);
  EXPECT_NE(large.floats().data(), outer.floats().data() + outer.floats().size());
  const StackedInputs rest(4);
  EXPECT_EQ(rest.floats().data(), outer.floats().data() + outer.floats().size());
  const StackedInputs alone(kInputStackFloats + 1);
  EXPECT_EQ(alone.floats().size(), kInputStackFloats + 1);
}

TEST(InputStack, IsOfAThread) {
  const StackedInputs here(4);
  std::jthread([&] {
    const StackedInputs there(4);
    EXPECT_NE(there.floats().data(), here.floats().data() + 4);
    std::ranges::fill(there.floats(), 2.0F);
  }).join();
  EXPECT_EQ(StackedInputs(1).floats().data(), here.floats().data() + 4);
}

}  // namespace
}  // namespace nacre
