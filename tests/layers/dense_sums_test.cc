#include "layers/dense_sums.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/tensor.h"
#include "random_shapes.h"

namespace nacre {
namespace {

std::vector<float> multiply(GemmArgs product, int threads) {
  const DenseSums sums(product.k, product.n, 64);
  BasicTensor<std::byte> shared(Shape{static_cast<int64_t>(sums.shared_bytes(product.m))});
  const size_t stride = DenseSums::thread_bytes();
  BasicTensor<std::byte> own(Shape{static_cast<int64_t>(stride) * threads});
  std::vector<float> c(static_cast<size_t>(product.m * product.n));
  product.c = c.data();
  sums.multiply(product, threads, {shared.data(), own.data(), stride});
  return c;
}

// Some images are nearly all zeros and some have none: so an image has a list of its own alone, and shares
// one with others in a batch.
void check(uint64_t shape) {
  Draws draw(23, shape);
  const int64_t m = draw.once_in(4) ? draw.between(120, 140) : draw.between(1, 20);
  const int64_t n = draw.between(1, 150);
  const int64_t k = draw.between(DenseSums::kLeastDepth, draw.once_in(2) ? 600 : 1500);
  const int64_t zeros = draw.between(0, 8);
  const RandomStream random(5, shape);
  uint64_t next = 0;
  Tensor a(Shape{m, k});
  Tensor b(Shape{k, n});
  Tensor bias(Shape{n});
  for (Tensor* tensor : {&a, &b, &bias}) {
    for (int64_t i = 0; i < tensor->size(); ++i) tensor->data()[i] = random.truncated_normal(next++);
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      if (static_cast<int64_t>(random.below(next++, 8)) < zeros + (i % 3 - 1) * 4) a.data()[i * k + j] = 0;
    }
  }
  GemmArgs product;
  product.m = m;
  product.n = n;
  product.k = k;
  product.a = a.data();
  product.lda = k;
  product.b = b.data();
  product.ldb = n;
  product.ldc = n;
  product.bias = draw.once_in(3) ? nullptr : bias.data();
  product.relu = draw.once_in(2);
  const std::vector<float> c = multiply(product, 1);
  for (const int threads : {2, 3}) EXPECT_EQ(multiply(product, threads), c) << threads << " threads";
  for (int64_t i = 0; i < m; i += 1 + m / 8) {
    GemmArgs row = product;
    row.m = 1;
    row.a += i * k;
    const std::vector<float> alone = multiply(row, 1);
    for (int64_t j = 0; j < n; ++j) {
      double sum = product.bias == nullptr ? 0.0 : static_cast<double>(bias.data()[j]);
      for (int64_t t = 0; t < k; ++t) {
        sum += static_cast<double>(a.data()[i * k + t]) * static_cast<double>(b.data()[t * n + j]);
      }
      if (product.relu) sum = std::max(sum, 0.0);
      const float value = c[static_cast<size_t>(i * n + j)];
      ASSERT_NEAR(value, sum, 2e-4) << m << ' ' << n << ' ' << k;
      ASSERT_EQ(value, alone[static_cast<size_t>(j)]) << "of an image alone";
    }
  }
}

TEST(DenseSums, AreThoseOfTheReferenceForAnyShareOfZeros) {
  for (const std::string& isa : fast_isas()) {
    SCOPED_TRACE(isa);
    use_isa(Isa::kBest);
    use_isa(parse_isa(isa).value());
    for (uint64_t shape = 0; shape < 16; ++shape) check(shape);
  }
  use_isa(Isa::kBest);
}

}  // namespace
}  // namespace nacre
