#include "engine/random.h"

#include <cmath>

#include "every_target.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

RandomStream stream(uint64_t seed, const char* purpose, uint64_t a = 0, uint64_t b = 0) {
  return {seed, hash_name(std::string(purpose)), a, b};
}

// The known answers that Random123 publishes for philox4x32-10.
TEST(Random, PhiloxKnownAnswers) {
  EXPECT_THAT(philox({0, 0}, {0, 0, 0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(philox({kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Random, StreamsOfDifferentNamesDiffer) {
  const std::vector<RandomStream> streams{stream(1, "dropout"),
                                          stream(2, "dropout"),
                                          stream(1ULL << 32U, "dropout"),
                                          stream(1, "shuffle"),
                                          stream(1, "dropout", 1),
                                          stream(1, "dropout", 0, 1),
                                          stream(1, "dropout", 1, 1),
                                          stream(1, "dropout", 1ULL << 32U),
                                          stream(1, "dropout", 0, 1ULL << 32U)};
  for (size_t i = 0; i < streams.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      int equal = 0;
      for (uint64_t n = 0; n < 64; ++n) equal += streams[i].bits(n) == streams[j].bits(n) ? 1 : 0;
      EXPECT_LE(equal, 1) << i << " and " << j;
    }
  }
}

// Seeds must give the same weights for ever, on every machine: these values may never change.
TEST(Random, StreamsNeverChange) {
  const RandomStream weights = stream(42, "conv1/kernel", 3, 4);
  EXPECT_EQ(weights.bits(0), 0xf10d3929U);
  EXPECT_EQ(weights.bits(0x300000005), 0x0b821a27U);
  EXPECT_EQ(weights.uniform(7), 0x1.213ffep-1F);
  EXPECT_EQ(weights.below(9, 1000003), 241249U);
  EXPECT_EQ(weights.truncated_normal(0), 0x1.6a5358p+0F);
  EXPECT_EQ(weights.truncated_normal(34), -0x1.fc9108p+0F);
}

TEST(Random, FillGivesTheSameBits) {
  const RandomStream random = stream(3, "fill");
  on_every_target([&] {
    for (const uint64_t first : {0ULL, 1ULL, 3ULL, 4ULL, 0xfffffffeULL, 0x3fffffff0ULL}) {
      for (const uint64_t count : {0U, 1U, 3U, 4U, 5U, 18U, 64U, 103U}) {
        std::vector<uint32_t> out(count + 1, 77);
        random.fill_bits(first, count, out.data());
        for (uint64_t i = 0; i < count; ++i) EXPECT_EQ(out[i], random.bits(first + i)) << first << " + " << i;
        EXPECT_EQ(out[count], 77U);
      }
    }
  });
}

TEST(Random, UniformIsUniform) {
  const RandomStream random = stream(4, "uniform");
  constexpr int kCount = 200000;
  constexpr int kBins = 16;
  std::vector<int> bins(kBins);
  double sum = 0;
  double square = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const float x = random.uniform(i);
    ASSERT_GE(x, 0.0F);
    ASSERT_LT(x, 1.0F);
    ++bins[static_cast<size_t>(x * kBins)];
    sum += double{x};
    square += double{x} * double{x};
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.003);
  EXPECT_NEAR(square / kCount, 1.0 / 3, 0.003);
  double chi_squared = 0;
  for (const int count : bins) chi_squared += std::pow(count - kCount / kBins, 2) / (kCount / kBins);
  EXPECT_LT(chi_squared, 37.7);  // 15 degrees of freedom, 0.1 %
}

TEST(Random, UniformDoubleIsInsideTheInterval) {
  const RandomStream random = stream(5, "double");
  double sum = 0;
  constexpr int kCount = 100000;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double x = random.uniform_double(i);
    ASSERT_GT(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.004);
}

TEST(Random, BelowCoversItsRange) {
  const RandomStream random = stream(6, "below");
  std::vector<int> seen(7);
  for (uint64_t i = 0; i < 70000; ++i) {
    const uint64_t x = random.below(i, 7);
    ASSERT_LT(x, 7U);
    ++seen[x];
  }
  for (const int count : seen) EXPECT_NEAR(count, 10000, 400);
  EXPECT_EQ(random.below(0, 1), 0U);
  uint64_t large = 0;
  for (uint64_t i = 0; i < 64; ++i) large = std::max(large, random.below(i, ~0ULL));
  EXPECT_GT(large, 1ULL << 62U);
}

/// The distribution function of the truncated normal distribution.
double truncated_distribution(double x) {
  const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
  return (phi(x) - phi(-2)) / (phi(2) - phi(-2));
}

TEST(Random, TruncatedNormalIsTheInverseDistributionFunction) {
  const RandomStream random = stream(7, "normal");
  for (uint64_t i = 0; i < 20000; ++i) {
    EXPECT_NEAR(truncated_distribution(double{random.truncated_normal(i)}), random.uniform_double(i), 1e-7)
        << i;
  }
}

TEST(Random, TruncatedNormalHasTensorFlowsMoments) {
  const RandomStream random = stream(8, "normal");
  constexpr int kCount = 400000;
  double sum = 0;
  double square = 0;
  double largest = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double x = double{random.truncated_normal(i)};
    sum += x;
    square += x * x;
    largest = std::max(largest, std::abs(x));
  }
  EXPECT_NEAR(sum / kCount, 0, 0.005);
  EXPECT_NEAR(std::sqrt(square / kCount), 0.87962566, 0.003);
  EXPECT_LE(largest, 2);
  EXPECT_GT(largest, 1.999);
}

TEST(Random, HashOfNamesIsFnv1a) {
  EXPECT_EQ(hash_name(std::string()), 0xcbf29ce484222325ULL);
  EXPECT_EQ(hash_name(std::string("a")), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(hash_name(std::string("foobar")), 0x85944171f73967e8ULL);
}

}  // namespace
}  // namespace nacre
