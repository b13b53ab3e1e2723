// The matrix products of the presets' layers, in GFLOP/s and as a share of what the machine can reach at all.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "bench/report.h"
#include "engine/gemm.h"
#include "engine/tensor.h"

namespace nacre {
namespace {

struct Product {
  const char* name;
  int64_t m;
  int64_t k;
  int64_t n;
  bool transpose_a;
  bool transpose_b;
};

constexpr std::array kProducts{
    Product{"conv 96x96 3>16", 9216, 27, 16, false, false},
    Product{"conv 48x48 16>32", 2304, 144, 32, false, false},
    Product{"conv 24x24 32>64", 576, 288, 64, false, false},
    Product{"conv 12x12 64>128 k5", 144, 1600, 128, false, false},
    Product{"conv 28x28 1>32", 784, 9, 32, false, false},
    Product{"conv 14x14 32>64", 196, 288, 64, false, false},
    Product{"conv 48x48 weight gradient", 144, 2304, 32, true, false},
    Product{"conv 48x48 input gradient", 2304, 32, 144, false, true},
    Product{"dense forward", 100, 4608, 512, false, false},
    Product{"dense input gradient", 100, 512, 4608, false, true},
    Product{"dense weight gradient", 4608, 100, 512, true, false},
    Product{"dense one row", 1, 4608, 512, false, false},
    Product{"square", 1024, 1024, 1024, false, false},
};

enum class Way { kPlain, kPackedB, kParallel };

void multiply(benchmark::State& state, const Product& p, Way way, int threads) {
  Tensor a(Shape{p.m, p.k});
  Tensor b(Shape{p.k, p.n});
  Tensor c(Shape{p.m, p.n});
  for (int64_t i = 0; i < a.size(); ++i) a.data()[i] = static_cast<float>(i % 17) - 8;
  for (int64_t i = 0; i < b.size(); ++i) b.data()[i] = static_cast<float>(i % 13) - 6;
  const GemmArgs args{.m = p.m,
                      .n = p.n,
                      .k = p.k,
                      .a = a.data(),
                      .lda = p.transpose_a ? p.m : p.k,
                      .transpose_a = p.transpose_a,
                      .b = b.data(),
                      .ldb = p.transpose_b ? p.k : p.n,
                      .transpose_b = p.transpose_b,
                      .c = c.data(),
                      .ldc = p.n};
  const size_t bytes = way == Way::kParallel ? gemm_parallel_workspace_bytes(p.m, p.n, p.k, threads)
                                             : gemm_workspace_bytes(p.m, p.n, p.k);
  Tensor workspace(Shape{static_cast<int64_t>(bytes / sizeof(float))});
  Tensor packed(Shape{static_cast<int64_t>(packed_b_floats(p.k, p.n))});
  pack_b(p.k, p.n, args.b, args.ldb, args.transpose_b, packed.data());
  for (auto _ : state) {
    if (way == Way::kPlain) sgemm(args, workspace.data());
    if (way == Way::kPackedB) sgemm_packed_b(args, packed.data(), workspace.data());
    if (way == Way::kParallel) sgemm_parallel(args, threads, workspace.data());
    benchmark::ClobberMemory();
  }
  report_flops(state, 2 * p.m * p.n * p.k, threads);
}

const bool kRegistered = [] {
  for (const Product& p : kProducts) {
    const std::string name = std::string("gemm ") + p.name + "/";
    const auto add = [&](const char* way_name, Way way, int threads) {
      benchmark::RegisterBenchmark((name + way_name).c_str(), multiply, p, way, threads)->UseRealTime();
    };
    add("one thread", Way::kPlain, 1);
    add("packed B", Way::kPackedB, 1);
    add("two threads", Way::kParallel, 2);
  }
  return true;
}();

}  // namespace
}  // namespace nacre
