#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/isa.h"
#include "layer_runner.h"
#include "layer_test.h"

namespace nacre {

/// Numbers that say what a shape is: the same for the same seed and shape.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t shape) : random_(seed, shape) {}
  /// In [least, most].
  int64_t between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_.below(next_++, static_cast<uint64_t>(most - least + 1)));
  }
  bool once_in(int64_t n) { return between(1, n) == 1; }

 private:
  RandomStream random_;
  uint64_t next_ = 0;
};

/// That no element is further off than `relative` of the largest, or of `least` where all are smaller.
template <typename T>
void expect_near(const BasicTensor<float>& fast, const BasicTensor<T>& exact, double relative, double least,
                 const std::string& what) {
  double largest = least;
  for (int64_t i = 0; i < exact.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(exact.data()[i])));
  double worst = 0.0;
  for (int64_t i = 0; i < exact.size(); ++i) {
    const double error = std::abs(static_cast<double>(fast.data()[i]) - static_cast<double>(exact.data()[i]));
    // NaN is an error, too.
    if (!(error <= worst)) worst = error;
  }
  EXPECT_LE(worst, relative * largest) << what;
}

/// What a run leaves behind.
inline std::vector<std::vector<float>> results(const LayerRunner<float>& run) {
  const auto values = [](const Tensor& t) { return std::vector<float>(t.data(), t.data() + t.size()); };
  std::vector<std::vector<float>> all{values(run.output)};
  for (const Tensor& t : run.grad_inputs) all.push_back(values(t));
  for (const Tensor& t : run.grad_variables) all.push_back(values(t));
  return all;
}

/// That 2 and 3 threads leave behind what `fast` did.
inline void expect_same_with_more_threads(const LayerCase& layer, const LayerRunner<float>& fast) {
  for (const int threads : {2, 3}) {
    const auto op = std::move(create_operator(layer, Mode::kTraining, threads)).value();
    LayerRunner<float> many(*op, layer.inputs, layer.inputs[0][0], threads);
    many.fill();
    many.forward(false);
    many.backward(false);
    EXPECT_EQ(results(many), results(fast)) << threads << " threads";
  }
}

/// Every result of the fast paths against the reference in double, within `bound` of the largest or of
/// `least`; and the same bits with a packed kernel and with more threads.
inline void check_fast_paths(const LayerCase& layer, double bound, double least) {
  const auto op = std::move(create_operator(layer)).value();
  ASSERT_NE(op, nullptr);
  const int64_t n = layer.inputs[0][0];
  LayerRunner<float> fast(*op, layer.inputs, n, 1);
  LayerRunner<double> exact(*op, layer.inputs, n, 1);
  fast.fill();
  exact.fill();
  fast.forward(false);
  exact.forward(true);
  expect_near(fast.output, exact.output, bound, least, "output");
  const auto serving = std::move(create_operator(layer, Mode::kInference)).value();
  LayerRunner<float> served(*serving, layer.inputs, n, 1);
  served.fill();
  served.forward(false);
  expect_near(served.output, exact.output, bound, least, "output in inference");
  LayerRunner<float> packed(*serving, layer.inputs, n, 1);
  packed.fill();
  packed.pack(1);
  packed.forward(false);
  EXPECT_EQ(results(packed).front(), results(served).front()) << "with a packed kernel";
  // The gradients of the same function: with the winners, and what relu clipped, as the fast path has them.
  std::copy_n(fast.saved().data(), fast.saved().size(), exact.saved().data());
  std::copy_n(fast.output.data(), fast.output.size(), exact.output.data());
  fast.backward(false);
  exact.backward(true);
  expect_near(fast.grad_inputs[0], exact.grad_inputs[0], bound, least, "gradient of input");
  for (size_t i = 0; i < exact.grad_variables.size(); ++i) {
    expect_near(fast.grad_variables[i], exact.grad_variables[i], bound, least, op->info().variables[i].name);
  }
  expect_same_with_more_threads(layer, fast);
  if (!op->info().adds_gradients) return;
  fast.adds = {1};
  for (int64_t i = 0; i < fast.grad_inputs[0].size(); ++i) {
    const auto before = static_cast<float>(i % 5);
    fast.grad_inputs[0].data()[i] = before;
    exact.grad_inputs[0].data()[i] += static_cast<double>(before);
  }
  fast.backward(false);
  expect_near(fast.grad_inputs[0], exact.grad_inputs[0], bound, least, "gradient added to that of input");
}

/// The instruction sets that fast paths are dispatched to here.
inline std::vector<std::string> fast_isas() {
  std::vector<std::string> names = usable_isa_names();
  std::erase(names, "reference");
  return names;
}

/// A test with each of fast_isas().
class OnEveryIsa : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { use_isa(parse_isa(GetParam()).value()); }
  void TearDown() override { use_isa(Isa::kBest); }

  /// check_fast_paths of draw_case(shape), all shapes below `shapes` where vectors are long; a part of them
  /// where the same code takes much longer.
  void check_shapes(uint64_t shapes, LayerCase (*draw_case)(uint64_t), double bound, double least) const {
    const bool all = GetParam().starts_with("avx");
    for (uint64_t shape = 0; shape < shapes; shape += all ? 1 : 6) {
      const LayerCase layer = draw_case(shape);
      SCOPED_TRACE(::testing::PrintToString(layer));
      check_fast_paths(layer, bound, least);
      if (HasFailure()) return;
    }
  }
};

}  // namespace nacre
