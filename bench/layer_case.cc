#include "bench/layer_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bench/report.h"
#include "layers/registry.h"
#include "tests/layers/layer_runner.h"

namespace nacre {
namespace {

enum class Pass { kInference, kForward, kBackward, kVariables };

struct PassName {
  Pass pass;
  const char* name;
};

constexpr std::array kPasses{PassName{Pass::kInference, "inference"}, PassName{Pass::kForward, "forward"},
                             PassName{Pass::kBackward, "backward"}, PassName{Pass::kVariables, "variables"}};

int64_t bytes_of(const std::vector<Tensor>& tensors) {
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.size() * static_cast<int64_t>(sizeof(float));
  return bytes;
}

/// A layer with its inputs, ready to run.
struct Prepared {
  std::string name;
  std::unique_ptr<Operator> op;
  std::unique_ptr<LayerRunner<float>> runner;
};

std::unique_ptr<Prepared> prepare(const std::string& name, const LayerCase& layer, Pass pass, int64_t batch,
                                  int threads) {
  std::vector<const AttrMap*> attributes;
  for (const AttrMap& each : layer.attributes) attributes.push_back(&each);
  const std::vector<Shape> inputs{layer.input.with_batch(batch)};
  OperatorRequest request;
  request.node_name = "layer";
  request.attributes = attributes;
  request.inputs = inputs;
  request.mode = pass == Pass::kInference ? Mode::kInference : Mode::kTraining;
  request.threads = threads;
  const Registry registry = builtin_ops();
  auto prepared = std::make_unique<Prepared>();
  prepared->name = name;
  prepared->op = std::ranges::find(registry.all(), layer.op, &OpDef::name)->create(request).value();
  prepared->runner = std::make_unique<LayerRunner<float>>(*prepared->op, inputs, batch, threads);
  LayerRunner<float>& runner = *prepared->runner;
  runner.fill();
  runner.poisoning = false;
  if (layer.first || pass == Pass::kVariables) {
    for (size_t i = 0; i < inputs.size(); ++i) runner.unwanted.push_back(i);
  }
  runner.context.mode = request.mode;
  runner.forward(false);
  return prepared;
}

void run(benchmark::State& state, const std::string& name, const LayerCase& layer, Pass pass, int64_t batch,
         int threads) {
  // Every repetition of a case, and every guess at its iterations, comes here: its numbers are drawn once.
  static std::unique_ptr<Prepared> last;
  if (last == nullptr || last->name != name) {
    last.reset();
    last = prepare(name, layer, pass, batch, threads);
  }
  LayerRunner<float>& runner = *last->runner;
  const bool backward = pass == Pass::kBackward || pass == Pass::kVariables;
  for (auto _ : state) backward ? runner.backward(false) : runner.forward(false);
  if (layer.arithmetic) {
    // A gradient each with respect to the input and to the variables.
    const int64_t passes = backward && runner.unwanted.empty() ? 2 : 1;
    report_flops(state, passes * last->op->info().flops_per_row * batch, threads);
  } else {
    report_bytes(state, bytes_of(runner.inputs) + runner.output.size() * int64_t{sizeof(float)}, threads);
  }
}

}  // namespace

void add_layer_cases(const std::vector<LayerCase>& cases, std::span<const int64_t> batches) {
  for (const LayerCase& layer : cases) {
    for (const int64_t batch : batches) {
      for (const PassName& pass : kPasses) {
        if (pass.pass == Pass::kVariables && !layer.variables_alone) continue;
        for (const int threads : {1, 2}) {
          const std::string name =
              fmt::format("{}/{}/batch:{}/threads:{}", layer.name, pass.name, batch, threads);
          benchmark::RegisterBenchmark(name.c_str(), [name, layer, pass, batch,
                                                      threads](benchmark::State& state) {
            run(state, name, layer, pass.pass, batch, threads);
          })->UseRealTime();
        }
      }
    }
  }
}

}  // namespace nacre
