#include "engine/initializer.h"

#include <algorithm>
#include <cmath>

namespace nacre {
namespace {

constexpr int64_t kCount = 200000;

Tensor draw(const Initializer& initializer, uint64_t seed = 1, std::string_view name = "conv1/kernel",
            int64_t count = kCount) {
  Tensor tensor(Shape{count});
  initialize(initializer, seed, name, tensor.view());
  return tensor;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
  double lowest = 0;
  double highest = 0;
};

Moments moments(const Tensor& tensor) {
  Moments result;
  const float* data = tensor.data();
  const auto n = static_cast<double>(tensor.size());
  for (int64_t i = 0; i < tensor.size(); ++i) result.mean += data[i] / n;
  for (int64_t i = 0; i < tensor.size(); ++i) result.deviation += std::pow(data[i] - result.mean, 2) / n;
  result.deviation = std::sqrt(result.deviation);
  const auto [low, high] = std::minmax_element(data, data + tensor.size());
  result.lowest = *low;
  result.highest = *high;
  return result;
}

Initializer kind(InitializerKind value) {
  Initializer initializer;
  initializer.kind = value;
  initializer.stddev = 0.2;
  initializer.fan_in = 75;
  initializer.fan_out = 800;
  return initializer;
}

TEST(Initializer, Constants) {
  for (const auto& [value, expected] :
       {std::pair{InitializerKind::kZeros, 0.0F}, {InitializerKind::kOnes, 1.0F}}) {
    Tensor tensor(Shape{5});
    std::fill_n(tensor.data(), 5, 9.0F);
    initialize(kind(value), 1, "a/b", tensor.view());
    for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(tensor.data()[i], expected);
  }
}

void expect_uniform(InitializerKind value, double limit) {
  const Moments m = moments(draw(kind(value)));
  EXPECT_NEAR(m.mean, 0, 0.01 * limit);
  EXPECT_NEAR(m.deviation, limit / std::sqrt(3.0), 0.01 * limit);
  EXPECT_GE(m.lowest, -limit * (1 + 1e-6));
  EXPECT_LE(m.highest, limit * (1 + 1e-6));
  EXPECT_LT(m.lowest, -0.999 * limit);
  EXPECT_GT(m.highest, 0.999 * limit);
}

TEST(Initializer, UniformLimits) {
  expect_uniform(InitializerKind::kGlorotUniform, std::sqrt(6.0 / (75 + 800)));
  expect_uniform(InitializerKind::kHeUniform, std::sqrt(6.0 / 75));
}

/// `deviation` is that of the values drawn, `limit` where they are cut off.
void expect_normal(InitializerKind value, double deviation, double limit) {
  const Moments m = moments(draw(kind(value)));
  EXPECT_NEAR(m.mean, 0, 0.01 * deviation);
  EXPECT_NEAR(m.deviation, deviation, 0.01 * deviation);
  EXPECT_GE(m.lowest, -limit * (1 + 1e-6));
  EXPECT_LE(m.highest, limit * (1 + 1e-6));
  EXPECT_LT(m.lowest, -0.99 * limit);
  EXPECT_GT(m.highest, 0.99 * limit);
}

TEST(Initializer, NormalDeviations) {
  // The deviation of a standard normal truncated at two, by its formula.
  const double density = std::exp(-2.0) / std::sqrt(2 * M_PI);
  const double truncated = std::sqrt(1 - 4 * density / std::erf(std::sqrt(2.0)));
  expect_normal(InitializerKind::kTruncatedNormal, 0.2 * truncated, 2 * 0.2);
  const double glorot = std::sqrt(2.0 / (75 + 800));
  expect_normal(InitializerKind::kGlorotNormal, glorot, 2 * glorot / truncated);
  const double he = std::sqrt(2.0 / 75);
  expect_normal(InitializerKind::kHeNormal, he, 2 * he / truncated);
}

bool equal(const Tensor& a, const Tensor& b) {
  return std::equal(a.data(), a.data() + std::min(a.size(), b.size()), b.data());
}

TEST(Initializer, SeedAndNameDecide) {
  for (const EnumName<InitializerKind>& e : enum_names(InitializerKind{})) {
    if (e.value == InitializerKind::kZeros || e.value == InitializerKind::kOnes) continue;
    const Initializer initializer = kind(e.value);
    const Tensor first = draw(initializer, 1, "conv1/kernel", 100);
    EXPECT_TRUE(equal(first, draw(initializer, 1, "conv1/kernel", 100)));
    EXPECT_FALSE(equal(first, draw(initializer, 2, "conv1/kernel", 100)));
    EXPECT_FALSE(equal(first, draw(initializer, 1, "conv2/kernel", 100)));
    // An element depends on its own index, not on how many there are.
    EXPECT_TRUE(equal(first, draw(initializer, 1, "conv1/kernel", 50)));
  }
}

TEST(Initializer, NamesAreKeras) {
  std::vector<std::string> names;
  for (const EnumName<InitializerKind>& e : enum_names(InitializerKind{})) names.emplace_back(e.name);
  EXPECT_THAT(names, testing::ElementsAre("zeros", "ones", "truncated_normal", "glorot_uniform",
                                          "glorot_normal", "he_uniform", "he_normal"));
}

}  // namespace
}  // namespace nacre
