#pragma once

#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/gemm.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace nacre {

/// Runs the rest of a scope with one of Highway's targets.
class ForcedTarget {
 public:
  explicit ForcedTarget(int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~ForcedTarget() { hwy::SetSupportedTargetsForTest(0); }
  ForcedTarget(const ForcedTarget&) = delete;
  ForcedTarget& operator=(const ForcedTarget&) = delete;
};

inline std::vector<int64_t> targets() {
  std::vector<int64_t> all;
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) all.push_back(rest & -rest);
  return all;
}

inline Tensor random_tensor(int64_t count, uint64_t seed) {
  const RandomStream stream(seed, hash_name(std::string("gemm test")));
  Tensor tensor(Shape{count});
  for (int64_t i = 0; i < count; ++i) tensor.data()[i] = 2 * stream.uniform(static_cast<uint64_t>(i)) - 1;
  return tensor;
}

enum class Path { kPlain, kPacked, kParallel, kPackedParallel };
inline constexpr Path kPaths[] = {Path::kPlain, Path::kPacked, Path::kParallel, Path::kPackedParallel};

/// A product with its own matrices. Stored rows are longer than they need be, and C has a canary around it.
class Problem {
 public:
  Problem(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b)
      : a_(random_tensor((transpose_a ? k : m) * ((transpose_a ? m : k) + 3), 1)),
        b_(random_tensor((transpose_b ? n : k) * ((transpose_b ? k : n) + 1), 2)),
        c_(random_tensor(m * (n + kGap), 3)),
        bias_(random_tensor(n, 4)) {
    args.m = m;
    args.n = n;
    args.k = k;
    args.a = a_.data();
    args.lda = (transpose_a ? m : k) + 3;
    args.transpose_a = transpose_a;
    args.b = b_.data();
    args.ldb = (transpose_b ? k : n) + 1;
    args.transpose_b = transpose_b;
    args.ldc = n + kGap;
    // As behind a relu.
    for (int64_t i = 0; i < a_.size(); i += 3) a_.data()[i] = 0;
  }

  void set_epilogue(bool accumulate, bool bias, bool relu, bool bounded = false) {
    args.accumulate = accumulate;
    args.bias = bias ? bias_.data() : nullptr;
    args.relu = relu;
    // Some results are above it.
    if (bounded) args.at_most = 0.5F;
  }

  /// Leaves only every `step`th column of A, not transposed, and of each row one more.
  void thin_a(int64_t step) {
    for (int64_t i = 0; i < args.m; ++i) {
      for (int64_t k = 0; k < args.k; ++k) {
        if (k % step != 0 && k != i % args.k) a_.data()[i * args.lda + k] = 0;
      }
    }
  }

  /// What a relu would leave of A.
  void clip_a(float threshold = 0) {
    for (int64_t i = 0; i < a_.size(); ++i) {
      if (a_.data()[i] < threshold) a_.data()[i] = 0;
    }
  }

  /// Makes every second row of A, not transposed, alive where the one before it is, but for an eighth.
  void pair_a() {
    for (int64_t i = 1; i < args.m; i += 2) {
      for (int64_t k = 0; k < args.k; ++k) {
        float& x = a_.data()[i * args.lda + k];
        const bool alive = a_.data()[(i - 1) * args.lda + k] != 0;
        if (k % 8 != i % 8) x = alive ? x + 2 : 0;
      }
    }
  }

  [[nodiscard]] Tensor run(Path path, int threads = 1) const {
    Tensor c = c_.clone();
    GemmArgs all = args;
    all.c = c.data();
    run_with(all, path, threads);
    return c;
  }

  /// Rows [first, first + count) and columns [left, left + width), each product alone.
  [[nodiscard]] Tensor run_part(Path path, int64_t first, int64_t count, int64_t left, int64_t width) const {
    Tensor c = c_.clone();
    GemmArgs part = args;
    part.m = count;
    part.n = width;
    part.a += args.transpose_a ? first : first * args.lda;
    part.b += args.transpose_b ? left * args.ldb : left;
    part.c = c.data() + first * args.ldc + left;
    if (part.bias != nullptr) part.bias += left;
    run_with(part, path, 1);
    return c;
  }

  /// The largest error relative to the sum of absolute products; infinity when the gap between rows was
  /// written.
  [[nodiscard]] double error(const Tensor& c) const {
    double worst = 0;
    for (int64_t i = 0; i < args.m; ++i) {
      for (int64_t j = 0; j < args.ldc; ++j) {
        const double got = c.data()[i * args.ldc + j];
        const double old = c_.data()[i * args.ldc + j];
        if (j >= args.n) {
          if (got != old) return std::numeric_limits<double>::infinity();
          continue;
        }
        double sum = args.accumulate ? old : 0;
        double scale = std::abs(sum) + 1;
        for (int64_t k = 0; k < args.k; ++k) {
          const double product = double{args.a[args.transpose_a ? k * args.lda + i : i * args.lda + k]} *
                                 double{args.b[args.transpose_b ? j * args.ldb + k : k * args.ldb + j]};
          sum += product;
          scale += std::abs(product);
        }
        if (args.bias != nullptr) sum += double{args.bias[j]};
        if (args.relu) sum = std::max(sum, 0.0);
        sum = std::min(sum, double{args.at_most});
        worst = std::max(worst, std::abs(got - sum) / scale);
      }
    }
    return worst;
  }

  GemmArgs args;

 private:
  static constexpr int64_t kGap = 5;

  static void run_with(const GemmArgs& args, Path path, int threads) {
    const bool parallel = path == Path::kParallel || path == Path::kPackedParallel;
    const size_t bytes = parallel ? gemm_parallel_workspace_bytes(args.m, args.n, args.k, threads)
                                  : gemm_workspace_bytes(args.m, args.n, args.k);
    // NaN in the workspace: nothing may depend on what was there.
    Tensor workspace(Shape{static_cast<int64_t>(bytes / sizeof(float))});
    std::fill_n(workspace.data(), workspace.size(), std::numeric_limits<float>::quiet_NaN());
    Tensor packed;
    if (path == Path::kPacked || path == Path::kPackedParallel) {
      packed = Tensor(Shape{static_cast<int64_t>(packed_b_floats(args.k, args.n))});
      pack_b(args.k, args.n, args.b, args.ldb, args.transpose_b, packed.data());
    }
    switch (path) {
      case Path::kPlain:
        return sgemm(args, workspace.data());
      case Path::kPacked:
        return sgemm_packed_b(args, packed.data(), workspace.data());
      case Path::kParallel:
        return sgemm_parallel(args, threads, workspace.data());
      case Path::kPackedParallel:
        return sgemm_packed_b_parallel(args, packed.data(), threads, workspace.data());
    }
  }

  Tensor a_;
  Tensor b_;
  Tensor c_;
  Tensor bias_;
};

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.size() == b.size() &&
         (a.size() == 0 ||
          std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) == 0);
}

}  // namespace nacre
