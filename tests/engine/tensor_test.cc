#include "engine/tensor.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>

namespace nacre {
namespace {

TEST(Tensor, MemoryIsAlignedAndZero) {
  for (const int64_t size : {1, 15, 16, 17, 1000, 1 << 19, (1 << 19) + 1, 1 << 21}) {
    Tensor tensor(Shape{size});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % kAlignment, 0U);
    for (int64_t i = 0; i < size; ++i) EXPECT_EQ(tensor.data()[i], 0.0F);
    EXPECT_EQ(tensor.size(), size);
    EXPECT_FALSE(tensor.borrowed());
  }
}

/// Bytes of this process that are in memory.
int64_t resident_bytes() {
  int64_t all = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(Tensor, MemoryThatIsHardlyUsedIsHardlyTaken) {
  constexpr int64_t kStep = 1 << 20;
  constexpr int64_t kSteps = 32;
  BasicTensor<std::byte> tensor(Shape{kSteps * kStep}, MemoryUse::kPartly);
  const int64_t before = resident_bytes();
  ASSERT_GT(before, 0);
  for (int64_t i = 0; i < kSteps; ++i) tensor.data()[i * kStep] = std::byte{1};
  EXPECT_LT(resident_bytes() - before, kSteps * kStep / 8);
}

TEST(Tensor, AlignUpGoesToMultiplesOfAlignment) {
  EXPECT_EQ(align_up(0), 0U);
  EXPECT_EQ(align_up(1), 64U);
  EXPECT_EQ(align_up(64), 64U);
  EXPECT_EQ(align_up(65), 128U);
}

TEST(Tensor, AnEmptyOneHasNoMemory) {
  const Tensor tensor(Shape{0, 3});
  EXPECT_EQ(tensor.size(), 0);
  EXPECT_EQ(tensor.data(), nullptr);
  EXPECT_EQ(tensor.clone().shape(), (Shape{0, 3}));
}

TEST(Tensor, MovingHandsOverTheMemory) {
  Tensor tensor(Shape{2, 2});
  tensor.data()[3] = 7.0F;
  const float* memory = tensor.data();
  const Tensor moved = std::move(tensor);
  EXPECT_EQ(moved.data(), memory);
  EXPECT_EQ(moved.data()[3], 7.0F);
}

TEST(Tensor, ACloneIsIndependent) {
  Tensor tensor(Shape{3});
  tensor.data()[0] = 1.0F;
  Tensor copy = tensor.clone();
  copy.data()[0] = 2.0F;
  EXPECT_EQ(tensor.data()[0], 1.0F);
  EXPECT_EQ(copy.shape(), tensor.shape());
}

TEST(Tensor, ABorrowedOneKeepsTheOwnerAlive) {
  struct alignas(kAlignment) Floats : std::array<float, 4> {};
  auto owner = std::make_shared<Floats>();
  (*owner)[2] = 5.0F;
  const std::weak_ptr<Floats> watch = owner;
  {
    const float* data = owner->data();
    const Tensor tensor(Shape{4}, data, std::move(owner));
    EXPECT_TRUE(tensor.borrowed());
    EXPECT_EQ(tensor.data(), data);
    ASSERT_FALSE(watch.expired());
    Tensor copy = tensor.clone();
    EXPECT_FALSE(copy.borrowed());
    EXPECT_NE(copy.data(), data);
    EXPECT_EQ(copy.data()[2], 5.0F);
  }
  EXPECT_TRUE(watch.expired());
}

TEST(TensorView, IsAsConstAsItsElements) {
  Tensor tensor(Shape{2, 3});
  const TensorView<float> view = tensor.view();
  view.data[5] = 1.5F;
  const TensorView<const float> read = view;
  EXPECT_EQ(read.data[5], 1.5F);
  EXPECT_EQ(read.size(), 6);
  EXPECT_FALSE(read.empty());
  EXPECT_TRUE(TensorView<float>{}.empty());
}

}  // namespace
}  // namespace nacre
