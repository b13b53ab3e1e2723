#include "engine/gemm.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/gemm_blocking.h"
#include "gemm_problem.h"

namespace nacre {
namespace {

struct Extents {
  int64_t m;
  int64_t n;
  int64_t k;
};
constexpr Extents kShapes[] = {
    {1, 1, 1},     {2, 3, 5},       {1, 10, 33},  {3, 17, 7},   {5, 16, 4},   {6, 32, 27},   {7, 31, 29},
    {12, 33, 64},  {13, 64, 320},   {23, 8, 321}, {1, 67, 641}, {4, 131, 97}, {101, 15, 11}, {37, 200, 53},
    {197, 29, 13}, {199, 61, 17},   {9, 1, 700},  {2, 1100, 9}, {5, 1031, 6}, {200, 3, 197}, {19, 263, 323},
    {389, 2, 2},   {25, 130, 1000}, {9, 280, 65}, {3, 257, 30}, {20, 31, 9}};
constexpr double kTolerance = 1e-6;

TEST(Gemm, AgreesWithDoublePrecision) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    int number = 0;
    for (const auto& [m, n, k] : kShapes) {
      for (int transposes = 0; transposes < 4; ++transposes) {
        Problem problem(m, n, k, (transposes & 1) != 0, (transposes & 2) != 0);
        // Every combination of the epilogue meets every path, shape and transposition over the whole test.
        ++number;
        problem.set_epilogue((number & 1) != 0, (number & 2) != 0, (number & 4) != 0);
        if ((number & 8) != 0) problem.clip_a();
        const Tensor plain = problem.run(Path::kPlain);
        EXPECT_LT(problem.error(plain), kTolerance)
            << hwy::TargetName(target) << " " << m << " " << n << " " << k << " transposes " << transposes;
        for (const Path path : kPaths) {
          EXPECT_TRUE(same_bits(plain, problem.run(path)))
              << hwy::TargetName(target) << " " << m << " " << n << " " << k << " transposes " << transposes
              << " path " << static_cast<int>(path);
        }
      }
    }
  }
}

TEST(Gemm, EveryEpilogue) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const auto& [m, n, k] : {Extents{1, 21, 340}, {14, 21, 340}, {12, 32, 8}}) {
      for (int epilogue = 0; epilogue < 16; ++epilogue) {
        Problem problem(m, n, k, false, false);
        problem.set_epilogue((epilogue & 1) != 0, (epilogue & 2) != 0, (epilogue & 4) != 0,
                             (epilogue & 8) != 0);
        for (const Path path : kPaths) {
          EXPECT_LT(problem.error(problem.run(path)), kTolerance)
              << hwy::TargetName(target) << " rows " << m << " epilogue " << epilogue;
        }
      }
    }
  }
}

TEST(Gemm, NaNStays) {
  Tensor nan = random_tensor(14 * 8, 8);
  std::fill_n(nan.data(), nan.size(), std::numeric_limits<float>::quiet_NaN());
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const int64_t m : {1, 14}) {
      Problem problem(m, 33, 5, false, false);
      problem.args.a = nan.data();
      problem.set_epilogue(false, true, true, true);
      for (const Path path : kPaths) EXPECT_TRUE(std::isnan(problem.run(path).data()[m - 1]));
    }
  }
}

TEST(Gemm, RowsAndColumnsAloneHaveTheBitsOfTheWhole) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (int transposes = 0; transposes < 8; ++transposes) {
      Problem problem(100, 75, 661, (transposes & 1) != 0, (transposes & 2) != 0);
      if ((transposes & 4) != 0) problem.clip_a();
      problem.set_epilogue(transposes == 1, transposes != 2, transposes == 3);
      const Tensor whole = problem.run(Path::kPlain);
      for (const Path path : kPaths) {
        for (const auto& [first, count] :
             {std::pair<int64_t, int64_t>{0, 1}, {99, 1}, {41, 2}, {17, 4}, {50, 13}}) {
          for (const auto& [left, width] : {std::pair<int64_t, int64_t>{0, 75}, {3, 1}, {30, 20}, {10, 65}}) {
            const Tensor part = problem.run_part(path, first, count, left, width);
            for (int64_t i = first; i < first + count; ++i) {
              const int64_t at = i * problem.args.ldc + left;
              EXPECT_EQ(std::memcmp(part.data() + at, whole.data() + at,
                                    static_cast<size_t>(width) * sizeof(float)),
                        0)
                  << hwy::TargetName(target) << " transposes " << transposes << " path "
                  << static_cast<int>(path) << " row " << i << " of " << count << " from column " << left;
            }
          }
        }
      }
    }
  }
}

TEST(Gemm, TranspositionDoesNotChangeBits) {
  const Tensor a = random_tensor(40 * 350, 5);
  const Tensor b = random_tensor(350 * 50, 6);
  Tensor at(Shape{350 * 40});
  Tensor bt(Shape{50 * 350});
  for (int64_t k = 0; k < 350; ++k) {
    for (int64_t i = 0; i < 40; ++i) at.data()[k * 40 + i] = a.data()[i * 350 + k];
    for (int64_t j = 0; j < 50; ++j) bt.data()[j * 350 + k] = b.data()[k * 50 + j];
  }
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const int64_t m : {1, 3, 40}) {
      Tensor workspace(Shape{static_cast<int64_t>(gemm_workspace_bytes(m, 50, 350) / sizeof(float))});
      Tensor plain(Shape{m * 50});
      Tensor transposed(Shape{m * 50});
      sgemm({.m = m,
             .n = 50,
             .k = 350,
             .a = a.data(),
             .lda = 350,
             .b = b.data(),
             .ldb = 50,
             .c = plain.data(),
             .ldc = 50},
            workspace.data());
      sgemm({.m = m,
             .n = 50,
             .k = 350,
             .a = at.data(),
             .lda = 40,
             .transpose_a = true,
             .b = bt.data(),
             .ldb = 350,
             .transpose_b = true,
             .c = transposed.data(),
             .ldc = 50},
            workspace.data());
      EXPECT_TRUE(same_bits(plain, transposed)) << hwy::TargetName(target) << " rows " << m;
    }
  }
}

TEST(Gemm, ThreadsDoNotChangeBits) {
  for (int transposes = 0; transposes < 4; ++transposes) {
    Problem problem(403, 301, 130, (transposes & 1) != 0, (transposes & 2) != 0);
    problem.set_epilogue(false, true, true);
    const Tensor one = problem.run(Path::kPlain);
    for (const int threads : {1, 2, 3, 7}) {
      EXPECT_TRUE(same_bits(one, problem.run(Path::kParallel, threads))) << threads;
      EXPECT_TRUE(same_bits(one, problem.run(Path::kPackedParallel, threads))) << threads;
    }
  }
}

TEST(Gemm, WorkspaceSufficesForEverySmallerProduct) {
  for (const int64_t k : {1, 297, 320, 321, 432, 640, 641, 1000}) {
    const size_t bytes = gemm_workspace_bytes(288, 32, k);
    for (int64_t smaller = 1; smaller <= k; ++smaller) {
      ASSERT_GE(bytes, gemm_workspace_bytes(288, 32, smaller)) << smaller << " of " << k;
      const int64_t depth = gemm::block_depth(smaller);
      const int64_t floats = gemm::block_a_floats(288, depth) + gemm::kMaxTileColumns * depth;
      ASSERT_GE(bytes, static_cast<size_t>(floats) * sizeof(float)) << smaller << " of " << k;
    }
  }
}

TEST(Gemm, NothingToMultiply) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const int64_t m : {1, 5}) {
      Problem problem(m, 9, 0, false, false);
      problem.set_epilogue(false, true, false);
      for (const Path path : kPaths) EXPECT_EQ(problem.error(problem.run(path)), 0) << m;
    }
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{0, 4}, {4, 0}, {0, 0}}) {
      const Problem problem(m, n, 3, false, false);
      for (const Path path : kPaths) EXPECT_EQ(problem.error(problem.run(path)), 0);
    }
  }
}

TEST(Gemm, WhatIsFetchedMeanwhileChangesNothing) {
  constexpr int64_t kSize = 100;
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const bool transpose_a : {false, true}) {
      const Tensor a = random_tensor(kSize * kSize, 9);
      const Tensor b = random_tensor(kSize * kSize, 10);
      const Tensor soon = random_tensor(1000, 11);
      GemmArgs args{.m = kSize,
                    .n = kSize,
                    .k = kSize,
                    .a = a.data(),
                    .lda = kSize,
                    .transpose_a = transpose_a,
                    .b = b.data(),
                    .ldb = kSize,
                    .ldc = kSize};
      const auto run = [&] {
        Tensor c(Shape{kSize * kSize});
        Tensor workspace(
            Shape{static_cast<int64_t>(gemm_workspace_bytes(kSize, kSize, kSize) / sizeof(float))});
        args.c = c.data();
        sgemm(args, workspace.data());
        return c;
      };
      const Tensor without = run();
      args.soon = {soon.data(), soon.data()};
      args.soon_floats = soon.size();
      EXPECT_TRUE(same_bits(run(), without)) << hwy::TargetName(target);
    }
  }
}

TEST(Gemm, NanPassesThroughReluAndStaysInItsRow) {
  for (const int64_t target : targets()) {
    const ForcedTarget forced(target);
    for (const int64_t m : {1, 2, 20}) {
      Tensor a = random_tensor(m * 40, 7);
      const Tensor b = random_tensor(40 * 19, 8);
      a.data()[11] = std::numeric_limits<float>::quiet_NaN();
      Tensor c(Shape{m * 19});
      Tensor workspace(Shape{static_cast<int64_t>(gemm_workspace_bytes(m, 19, 40) / sizeof(float))});
      sgemm({.m = m,
             .n = 19,
             .k = 40,
             .a = a.data(),
             .lda = 40,
             .b = b.data(),
             .ldb = 19,
             .c = c.data(),
             .ldc = 19,
             .relu = true},
            workspace.data());
      for (int64_t i = 0; i < c.size(); ++i) {
        EXPECT_EQ(std::isnan(c.data()[i]), i < 19) << hwy::TargetName(target) << " rows " << m << " at " << i;
        EXPECT_FALSE(c.data()[i] < 0);
      }
    }
  }
}

}  // namespace
}  // namespace nacre
