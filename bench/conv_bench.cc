// Convolutions of the presets, with the pooling behind them where there is one: forward and backward in
// GFLOP/s of the plain algorithm, so that ways with fewer multiplications may pass the machine's peak
// (gemm_bench shows it).
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "layers/registry.h"
#include "tests/layers/layer_runner.h"

namespace nacre {
namespace {

struct Layer {
  const char* name;
  int64_t size;
  int64_t channels;
  int64_t kernel;
  int64_t filters;
  bool pooled;
};

constexpr std::array kLayers{
    Layer{"96x96 3>16 k3 pooled", 96, 3, 3, 16, true},
    Layer{"48x48 16>32 k3 pooled", 48, 16, 3, 32, true},
    Layer{"24x24 32>64 k3 pooled", 24, 32, 3, 64, true},
    Layer{"12x12 64>128 k5 pooled", 12, 64, 5, 128, true},
    Layer{"28x28 1>16 k3 pooled", 28, 1, 3, 16, true},
    Layer{"14x14 16>32 k3 pooled", 14, 16, 3, 32, true},
    Layer{"7x7 32>64 k3", 7, 32, 3, 64, false},
    Layer{"32x32 32>32 k3", 32, 32, 3, 32, false},
    Layer{"16x16 64>64 k3", 16, 64, 3, 64, false},
    Layer{"8x8 128>128 k3", 8, 128, 3, 128, false},
    Layer{"12x12 128>128 k1", 12, 128, 1, 128, false},
};

enum class Pass { kForward, kBackward };

void run(benchmark::State& state, const Layer& layer, Pass pass, int64_t batch, int threads) {
  const AttrMap conv{{"filters", layer.filters},
                     {"kernel_size", layer.kernel},
                     {"padding", std::string("same")},
                     {"activation", std::string("relu")}};
  const AttrMap pool{{"pool_size", int64_t{2}}};
  const std::array attributes{&conv, &pool};
  const std::vector<Shape> inputs{Shape{batch, layer.size, layer.size, layer.channels}};
  OperatorRequest request;
  request.node_name = "layer";
  request.attributes = std::span(attributes).first(layer.pooled ? 2 : 1);
  request.inputs = inputs;
  request.mode = Mode::kTraining;
  request.threads = threads;
  const Registry registry = builtin_ops();
  const std::string op_name = layer.pooled ? "Conv2D+MaxPool2D" : "Conv2D";
  const auto op = std::ranges::find(registry.all(), op_name, &OpDef::name)->create(request).value();
  LayerRunner<float> runner(*op, inputs, batch, threads);
  runner.fill();
  runner.poisoning = false;
  // A first layer's input wants no gradient.
  runner.skip_input_gradient = layer.channels < 4;
  runner.forward(false);
  for (auto _ : state) pass == Pass::kForward ? runner.forward(false) : runner.backward(false);
  const int64_t passes = pass == Pass::kForward || runner.skip_input_gradient ? 1 : 2;
  state.counters["GFLOP/s"] =
      benchmark::Counter(1e-9 * static_cast<double>(passes * op->info().flops_per_row * batch),
                         benchmark::Counter::kIsIterationInvariantRate);
}

const bool kRegistered = [] {
  for (const Layer& layer : kLayers) {
    for (const int64_t batch : {int64_t{1}, int64_t{16}}) {
      for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
        for (const int threads : {1, 2}) {
          const std::string name = std::string(layer.name) +
                                   (pass == Pass::kForward ? "/forward" : "/backward") +
                                   "/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), [&layer, pass, batch, threads](benchmark::State& state) {
            run(state, layer, pass, batch, threads);
          })->UseRealTime();
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace nacre
