#include "layers/live_terms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/tensor.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int64_t kWidth = LiveTerms::kWidth;

/// The product of a [rows, depth], whose element (r, k) is a[r * row_step + k * term_step], and b [depth,
/// kWidth].
std::vector<float> multiply(int64_t rows, int64_t depth, int64_t group, const float* a, int64_t row_step,
                            int64_t term_step, const Tensor& b) {
  const LiveTerms live(rows, depth, group);
  BasicTensor<std::byte> lists(Shape{static_cast<int64_t>(live.bytes())});
  std::vector<float> c(static_cast<size_t>(rows * kWidth), -1.0F);
  for (int64_t g = 0; g < live.groups(); ++g) {
    live.list(g, a, row_step, term_step, lists.data());
    for (int64_t block = 0; block < live.blocks(); ++block) {
      float* const to = c.data() + live.first_row(g) * kWidth;
      live.multiply(g, block, lists.data(), b.data() + live.begin(block) * kWidth,
                    {to, kWidth, block > 0 ? LiveSum::kAdd : LiveSum::kStore});
    }
  }
  return c;
}

void check(uint64_t shape) {
  Draws draw(17, shape);
  const int64_t rows = draw.between(1, 40);
  const int64_t depth = draw.between(1, draw.once_in(3) ? 400 : 60);
  const int64_t group = draw.between(1, 50);
  const bool transposed = draw.once_in(2);
  const int64_t row_step = transposed ? 1 : depth + draw.between(0, 3);
  const int64_t term_step = transposed ? rows + draw.between(0, 3) : 1;
  const RandomStream random(5, shape);
  uint64_t next = 0;
  Tensor a(Shape{std::max(rows * row_step, depth * term_step)});
  Tensor b(Shape{depth, kWidth});
  for (Tensor* tensor : {&a, &b}) {
    for (int64_t i = 0; i < tensor->size(); ++i) tensor->data()[i] = random.truncated_normal(next++);
  }
  // From no element to all of them, anywhere or where the first rows have them, so that rows share lists.
  const int64_t zeros = draw.between(0, 4);
  const int64_t alike = draw.once_in(2) ? draw.between(1, 8) : rows;
  const auto at = [&](int64_t i, int64_t k) -> float& { return a.data()[i * row_step + k * term_step]; };
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < depth; ++k) {
      const bool dead = i < alike || random.below(next++, 16) == 0
                            ? static_cast<int64_t>(random.below(next++, 4)) < zeros
                            : at(i - alike, k) == 0;
      if (dead) at(i, k) = 0;
    }
  }
  const std::vector<float> c = multiply(rows, depth, group, a.data(), row_step, term_step, b);
  for (int64_t i = 0; i < rows; ++i) {
    const std::vector<float> alone =
        multiply(1, depth, group, a.data() + i * row_step, row_step, term_step, b);
    for (int64_t j = 0; j < kWidth; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<double>(at(i, k)) * static_cast<double>(b.data()[k * kWidth + j]);
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
