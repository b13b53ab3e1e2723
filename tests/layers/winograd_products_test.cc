#include "layers/winograd_products.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/gemm.h"
#include "engine/tensor.h"
#include "random_shapes.h"

namespace nacre {
namespace {

/// Rows of c are as far apart as what they have room for.
std::vector<float> multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, const float* b) {
  const int64_t row = (n + 15) / 16 * 16;
  std::vector<float> c(static_cast<size_t>(m * row));
  winograd::multiply_in_blocks({m, n, k, a, a_row, b, c.data(), row, b});
  return c;
}

void check(uint64_t shape) {
  Draws draw(31, shape);
  const int64_t m = draw.between(1, 40);
  const int64_t n = draw.between(1, 70);
  const int64_t k = draw.between(1, 70);
  const int64_t a_row = k + draw.between(0, 3);
  const RandomStream random(9, shape);
  Tensor a(Shape{m, a_row});
  Tensor b(Shape{k, n});
  uint64_t next = 0;
  for (Tensor* tensor : {&a, &b}) {
    for (int64_t i = 0; i < tensor->size(); ++i) tensor->data()[i] = random.truncated_normal(next++);
  }
  Tensor packed(Shape{static_cast<int64_t>(packed_b_floats(k, n))});
  pack_b(k, n, b.data(), n, false, packed.data());
  const std::vector<float> c = multiply(m, n, k, a.data(), a_row, packed.data());
  const auto row = static_cast<size_t>((n + 15) / 16 * 16);
  for (int64_t i = 0; i < m; ++i) {
    const std::vector<float> alone = multiply(1, n, k, a.data() + i * a_row, a_row, packed.data());
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t t = 0; t < k; ++t) {
        sum += static_cast<double>(a.data()[i * a_row + t]) * static_cast<double>(b.data()[t * n + j]);
      }
      const float value = c[static_cast<size_t>(i) * row + static_cast<size_t>(j)];
      ASSERT_NEAR(value, sum, 3e-6 * static_cast<double>(k)) << m << ' ' << n << ' ' << k;
      ASSERT_EQ(value, alone[static_cast<size_t>(j)]) << "of a row alone";
    }
  }
}

TEST(WinogradProducts, OfNoRowsIsNothing) {
  const std::vector<float> b(16 * 3);
  EXPECT_TRUE(multiply(0, 16, 3, nullptr, 3, b.data()).empty());
}

TEST(WinogradProducts, OfRandomShapesAreThoseOfTheReference) {
  for (const std::string& isa : fast_isas()) {
    SCOPED_TRACE(isa);
    use_isa(Isa::kBest);
    use_isa(parse_isa(isa).value());
    for (uint64_t shape = 0; shape < 60; ++shape) check(shape);
  }
  use_isa(Isa::kBest);
}

}  // namespace
}  // namespace nacre
