#include "layers/live_terms.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/tensor.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int64_t kWidth = LiveTerms::kWidth;

/// The product of a [rows, depth], whose columns lie `step` floats apart, and b [depth, kWidth].
std::vector<float> multiply(int64_t rows, int64_t depth, int64_t group, const float* a, int64_t step,
                            const Tensor& b, bool chain) {
  const LiveTerms live(rows, depth, group);
  BasicTensor<std::byte> lists(Shape{static_cast<int64_t>(live.bytes())});
  std::vector<float> c(static_cast<size_t>(rows * kWidth), -1.0F);
  for (int64_t g = 0; g < live.groups(); ++g) {
    live.list(g, a, step, 1, lists.data());
    for (int64_t block = 0; block < live.blocks(); ++block) {
      float* const to = c.data() + live.first_row(g) * kWidth;
      // As sums of blocks, or one chain through all of them.
      const LiveSums sums = chain ? LiveSums{to, kWidth, false, block > 0 ? to : nullptr, kWidth}
                                  : LiveSums{to, kWidth, block > 0};
      live.multiply(g, block, lists.data(), b.data() + live.begin(block) * kWidth, sums);
    }
  }
  return c;
}

void check(uint64_t shape) {
  Draws draw(17, shape);
  const int64_t rows = draw.between(1, 40);
  const int64_t depth = draw.between(1, draw.once_in(3) ? 400 : 60);
  const int64_t group = draw.between(1, 50);
  const int64_t step = depth + draw.between(0, 3);
  const bool chain = draw.once_in(2);
  const RandomStream random(5, shape);
  uint64_t next = 0;
  Tensor a(Shape{rows, step});
  Tensor b(Shape{depth, kWidth});
  for (Tensor* tensor : {&a, &b}) {
    for (int64_t i = 0; i < tensor->size(); ++i) tensor->data()[i] = random.truncated_normal(next++);
  }
  // From no element to all of them.
  const int64_t zeros = draw.between(0, 4);
  for (int64_t i = 0; i < a.size(); ++i) {
    if (static_cast<int64_t>(random.below(next++, 4)) < zeros) a.data()[i] = 0;
  }
  const std::vector<float> c = multiply(rows, depth, group, a.data(), step, b, chain);
  for (int64_t i = 0; i < rows; ++i) {
    const std::vector<float> alone = multiply(1, depth, group, a.data() + i * step, step, b, chain);
    for (int64_t j = 0; j < kWidth; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<double>(a.data()[i * step + k]) * static_cast<double>(b.data()[k * kWidth + j]);
      }
      const float value = c[static_cast<size_t>(i * kWidth + j)];
      ASSERT_NEAR(value, sum, 1e-6 * static_cast<double>(depth + 10)) << rows << " x " << depth;
      ASSERT_EQ(value, alone[static_cast<size_t>(j)]) << "of a row alone";
    }
  }
}

TEST(LiveTerms, ProductsOfRandomMatricesAreThoseOfTheReference) {
  for (const std::string& isa : fast_isas()) {
    SCOPED_TRACE(isa);
    use_isa(Isa::kBest);
    use_isa(parse_isa(isa).value());
    for (uint64_t shape = 0; shape < 60; ++shape) check(shape);
  }
  use_isa(Isa::kBest);
}

TEST(LiveTerms, BlocksAreTransposed) {
  for (const std::string& isa : fast_isas()) {
    use_isa(Isa::kBest);
    use_isa(parse_isa(isa).value());
    for (const auto& [rows, columns] : {std::pair{1, 1}, {5, 40}, {16, 16}, {33, 64}, {64, 17}}) {
      std::vector<float> from(static_cast<size_t>(rows * (columns + 2)));
      for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
      std::vector<float> to(static_cast<size_t>(columns * (rows + 3)), -1.0F);
      transpose_block(rows, columns, from.data(), columns + 2, to.data(), rows + 3);
      for (int j = 0; j < columns; ++j) {
        for (int i = 0; i < rows + 3; ++i) {
          const float want = i < rows ? from[static_cast<size_t>(i * (columns + 2) + j)] : -1.0F;
          ASSERT_EQ(to[static_cast<size_t>(j * (rows + 3) + i)], want)
              << isa << ' ' << rows << ' ' << columns;
        }
      }
    }
  }
  use_isa(Isa::kBest);
}

}  // namespace
}  // namespace nacre
