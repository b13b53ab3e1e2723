#include <gtest/gtest.h>

#include "gemm_problem.h"

namespace nacre {
namespace {

constexpr double kTolerance = 1e-6;

// Whether and how zeros are left out is a matter of speed.
TEST(SparseGemm, ZerosChangeNoBit) {
  const Tensor soon = random_tensor(16, 12);
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    const RandomStream draws(3, hash_name(std::string("sparse")));
    for (uint64_t shape = 0; shape < 60; ++shape) {
      const auto draw = [&](uint64_t number, int64_t most) {
        return 1 + static_cast<int64_t>(draws.uniform(3 * shape + number) * static_cast<float>(most));
      };
      Problem problem(draw(0, 210), draw(1, 300), draw(2, 700), false, shape % 4 == 3);
      // 10 to 70 % are left, anywhere, in the same columns of all rows, or of two.
      if (shape % 8 < 5) {
        problem.clip_a(0.8F - 0.3F * static_cast<float>(shape % 5));
      } else if (shape % 16 < 8) {
        problem.clip_a(0.4F);
        problem.pair_a();
      } else {
        problem.thin_a(2 + static_cast<int64_t>(shape % 3));
      }
      problem.set_epilogue(shape % 3 == 1, shape % 2 == 1, shape % 5 == 1, shape % 7 == 1);
      const Tensor c = problem.run(Path::kPlain);
      EXPECT_LT(problem.error(c), kTolerance) << hwy::TargetName(target) << ' ' << shape;
      for (const Path path : kPaths) {
        EXPECT_TRUE(same_bits(c, problem.run(path, 3)))
            << hwy::TargetName(target) << ' ' << shape << ' ' << static_cast<int>(path);
      }
      // What is to be fetched meanwhile is fetched by dense products.
      problem.args.soon = {soon.data(), soon.data()};
      problem.args.soon_floats = soon.size();
      EXPECT_TRUE(same_bits(c, problem.run(Path::kPlain))) << hwy::TargetName(target) << ' ' << shape;
    }
  }
}

// Rows that read B in place, in one part and in two, and one more; columns whose sums wait in memory, and
// more.
TEST(SparseGemm, FewRowsHaveTheBitsOfManyPaths) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    int number = 0;
    for (int64_t m = 1; m <= kStreamedRows + 1; ++m) {
      for (const int64_t n : {1, 23, 512, 533, 1040}) {
        for (const int64_t k : {0, 1, 7, 320, 650}) {
          const bool transposed = ++number % 3 == 0;
          Problem problem(m, n, k, transposed, false);
          if (number % 4 == 1) problem.clip_a(0.4F);
          if (number % 4 == 2 && !transposed) problem.thin_a(3);
          problem.set_epilogue(number % 2 == 1, number % 5 < 3, number % 7 < 3, number % 11 < 4);
          const Tensor c = problem.run(Path::kPlain);
          EXPECT_LT(problem.error(c), kTolerance)
              << hwy::TargetName(target) << ' ' << m << ' ' << n << ' ' << k;
          for (const Path path : kPaths) {
            for (const int threads : {1, 3}) {
              EXPECT_TRUE(same_bits(c, problem.run(path, threads)))
                  << hwy::TargetName(target) << ' ' << m << ' ' << n << ' ' << k << ' '
                  << static_cast<int>(path) << ' ' << threads;
            }
          }
        }
      }
    }
  }
}

// Blocks of depth of which the next has no live terms, or fewer than are asked for ahead.
TEST(SparseGemm, FewRowsMayMeetZerosAlone) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const int64_t m : {1, 4, 7}) {
      Problem problem(m, 40, 1300, false, false);
      problem.thin_a(700);
      const Tensor c = problem.run(Path::kPlain);
      EXPECT_LT(problem.error(c), kTolerance) << hwy::TargetName(target) << ' ' << m;
      EXPECT_TRUE(same_bits(c, problem.run(Path::kPacked))) << hwy::TargetName(target) << ' ' << m;
    }
  }
}

}  // namespace
}  // namespace nacre
