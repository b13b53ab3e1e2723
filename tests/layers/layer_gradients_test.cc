// What operators say of inputs' gradients that share memory, with each other or with what is there, holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "random_shapes.h"

namespace nacre {
namespace {

std::unique_ptr<Operator> make_for_training(const LayerCase& layer, int threads) {
  auto created = create_operator(layer, Mode::kTraining, threads);
  EXPECT_TRUE(created.ok()) << created.status().message();
  return created.ok() ? std::move(created).value() : nullptr;
}

float before(int64_t i) {
  return 0.25F * static_cast<float>(i % 9) - 1.0F;
}

void run_backward(LayerRunner<float>& run) {
  for (Tensor& grad : run.grad_inputs) {
    for (int64_t i = 0; i < grad.size(); ++i) grad.data()[i] = before(i);
  }
  run.fill();
  run.forward(false);
  run.backward(false);
}

TEST_P(LayerTest, AddsToGradients) {
  const auto op = make_for_training(GetParam(), 1);
  if (op == nullptr || !op->info().adds_gradients) return;
  const int64_t n = GetParam().inputs[0][0];
  const size_t inputs = GetParam().inputs.size();
  LayerRunner<float> plain(*op, GetParam().inputs, n, 1);
  run_backward(plain);
  // To all, and to all but one.
  for (size_t but = 0; but <= inputs; ++but) {
    std::vector<uint8_t> adds(inputs, 1);
    if (but < inputs) adds[but] = 0;
    LayerRunner<float> adding(*op, GetParam().inputs, n, 1);
    adding.adds = adds;
    run_backward(adding);
    for (size_t k = 0; k < inputs; ++k) {
      Tensor expected = plain.grad_inputs[k].clone();
      for (int64_t i = 0; adds[k] != 0 && i < expected.size(); ++i) expected.data()[i] += before(i);
      expect_near(adding.grad_inputs[k], expected, 1e-6, 1.0, "gradient of input");
    }
    for (size_t i = 0; i < op->info().variables.size(); ++i) {
      EXPECT_EQ(results(adding)[1 + inputs + i], results(plain)[1 + inputs + i]);
    }
    for (const int threads : {2, 3}) {
      const auto other = make_for_training(GetParam(), threads);
      LayerRunner<float> many(*other, GetParam().inputs, n, threads);
      many.adds = adds;
      run_backward(many);
      EXPECT_EQ(results(many), results(adding)) << threads << " threads";
    }
  }
}

TEST_P(LayerTest, PutsGradientsInPlace) {
  const auto op = make_for_training(GetParam(), 3);
  if (op == nullptr || !op->info().gradients_in_place) return;
  const int64_t n = GetParam().inputs[0][0];
  LayerRunner<float> apart(*op, GetParam().inputs, n, 3);
  LayerRunner<float> in_place(*op, GetParam().inputs, n, 3);
  in_place.in_place = true;
  run_backward(apart);
  run_backward(in_place);
  for (const Tensor& grad : apart.grad_inputs) {
    ASSERT_EQ(grad.size(), in_place.grad_output.size());
    EXPECT_EQ(0, std::memcmp(grad.data(), in_place.grad_output.data(),
                             static_cast<size_t>(grad.size()) * sizeof(float)));
  }
  for (size_t i = 0; i < op->info().variables.size(); ++i) {
    EXPECT_EQ(results(in_place)[1 + apart.inputs.size() + i], results(apart)[1 + apart.inputs.size() + i]);
  }
}

TEST_P(LayerTest, UnwantedInputGradientsAreNotWritten) {
  const auto op = make_for_training(GetParam(), 1);
  if (op == nullptr) return;
  const size_t inputs = GetParam().inputs.size();
  // All of them, and each one alone.
  std::vector<std::vector<size_t>> cases(1);
  for (size_t i = 0; i < inputs; ++i) {
    cases[0].push_back(i);
    cases.push_back({i});
  }
  for (const bool reference : {false, true}) {
    const auto results_without = [&](const std::vector<size_t>& unwanted) {
      LayerRunner<float> run(*op, GetParam().inputs, GetParam().inputs[0][0], 1);
      run.fill();
      run.unwanted = unwanted;
      run.forward(reference);
      run.backward(reference);
      return results(run);
    };
    const auto all = results_without({});
    for (const std::vector<size_t>& unwanted : cases) {
      const auto some = results_without(unwanted);
      for (size_t i = 0; i < all.size(); ++i) {
        if (i > 0 && std::ranges::find(unwanted, i - 1) != unwanted.end()) continue;
        EXPECT_EQ(some[i], all[i]) << "result " << i;
      }
    }
  }
}

}  // namespace
}  // namespace nacre
