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

/// The instruction sets that fast paths are dispatched to here.
inline std::vector<std::string> fast_isas() {
  std::vector<std::string> names = usable_isa_names();
  std::erase(names, "reference");
  return names;
}

}  // namespace nacre
