#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/op_def.h"
#include "engine/random.h"

namespace nacre {

/// The buffers that one operator runs on, with rows 0..n-1 of its batch. All that it may not rely on
/// (results, saved state, workspaces) is full of NaN before each call.
template <typename T>
class LayerRunner {
 public:
  LayerRunner(const Operator& op, const std::vector<Shape>& shapes, int64_t n, int threads)
      : op_(op), output(op.info().output.with_batch(n)), grad_output(output.shape()) {
    const OperatorInfo& info = op.info();
    for (const Shape& shape : shapes) {
      inputs.emplace_back(shape.with_batch(n));
      grad_inputs.emplace_back(shape.with_batch(n));
    }
    for (const VariableSpec& spec : info.variables) {
      variables.emplace_back(spec.shape);
      grad_variables.emplace_back(spec.shape);
    }
    const auto bytes = [](size_t size) { return BasicTensor<std::byte>(Shape{static_cast<int64_t>(size)}); };
    const size_t stride = align_up(info.per_thread_bytes);
    saved_ = bytes(info.saved_bytes);
    shared_ = bytes(info.shared_bytes);
    per_thread_ = bytes(stride * static_cast<size_t>(threads));
    workspace_ = {shared_.data(), per_thread_.data(), stride};
    for (int64_t i = 0; i < n; ++i) samples_.push_back(sample(i));
    context = {Mode::kTraining, threads, 11, 2, samples_};
  }

  static int64_t sample(int64_t row) { return 7 + 3 * row; }

  /// Distinct values, none near another or zero: no kink of a maximum or a relu is near. Moving averages are
  /// positive, as a variance is.
  void fill() {
    uint64_t seed = 1;
    for (auto& tensor : inputs) fill_ramp(tensor, seed++);
    for (size_t i = 0; i < variables.size(); ++i) {
      fill_ramp(variables[i], seed++);
      if (!op_.info().variables[i].moving_average) continue;
      T* values = variables[i].data();
      for (int64_t c = 0; c < variables[i].size(); ++c) {
        values[c] = static_cast<float>(std::abs(static_cast<double>(values[c])) + 0.25);
      }
    }
    fill_ramp(grad_output, seed++);
  }

  /// Packs the variables as they are now; forward is given the result from now on.
  void pack(int threads) {
    if (op_.info().packed_bytes == 0) return;
    packed_ = BasicTensor<std::byte>(Shape{static_cast<int64_t>(op_.info().packed_bytes)});
    poison(packed_);
    op_.pack(views<const float>(variables), threads, packed_.data());
  }

  void forward(bool reference) {
    poison(output);
    poison(saved_);
    poison_workspace();
    const auto ins = views<const T>(inputs);
    const auto vars = views<const T>(variables);
    ForwardArgs<T> args;
    args.inputs = ins;
    args.output = output.view();
    args.variables = vars;
    args.saved = context.mode == Mode::kTraining ? saved_.data() : nullptr;
    args.packed = packed_.size() > 0 ? packed_.data() : nullptr;
    args.workspace = workspace_;
    args.context = context;
    if constexpr (std::is_same_v<T, float>) {
      if (!reference) return op_.forward(args);
    }
    op_.forward_reference(args);
  }

  void backward(bool reference) {
    for (size_t i = 0; i < grad_inputs.size(); ++i) {
      if (adds.empty() || adds[i] == 0) poison(grad_inputs[i]);
    }
    for (auto& tensor : grad_variables) poison(tensor);
    poison_workspace();
    const auto ins = views<const T>(inputs);
    const auto vars = views<const T>(variables);
    auto grad_ins = views<T>(grad_inputs);
    const auto grad_vars = views<T>(grad_variables);
    for (const size_t input : unwanted) grad_ins[input].data = nullptr;
    if (in_place) {
      for (auto& view : grad_ins) view.data = grad_output.data();
    }
    BackwardArgs<T> args;
    args.inputs = ins;
    args.output = output.view();
    args.grad_output = grad_output.view();
    args.variables = vars;
    args.grad_inputs = grad_ins;
    args.adds = adds;
    args.grad_variables = grad_vars;
    args.saved = saved_.data();
    args.workspace = workspace_;
    args.context = context;
    if constexpr (std::is_same_v<T, float>) {
      if (!reference) return op_.backward(args);
    }
    op_.backward_reference(args);
  }

  /// What forward leaves for backward.
  BasicTensor<std::byte>& saved() { return saved_; }

  std::vector<BasicTensor<T>> inputs;
  std::vector<BasicTensor<T>> variables;
  std::vector<BasicTensor<T>> grad_inputs;
  std::vector<BasicTensor<T>> grad_variables;

 private:
  template <typename V>
  static std::vector<TensorView<V>> views(std::vector<BasicTensor<T>>& tensors) {
    std::vector<TensorView<V>> result;
    for (auto& tensor : tensors) result.push_back(tensor.view());
    return result;
  }

  template <typename V>
  void poison(BasicTensor<V>& tensor) const {
    if (poisoning && tensor.size() > 0)
      std::memset(tensor.data(), 0xFF, static_cast<size_t>(tensor.size()) * sizeof(V));
  }
  void poison_workspace() {
    poison(shared_);
    poison(per_thread_);
  }

  static void fill_ramp(BasicTensor<T>& tensor, uint64_t seed) {
    const RandomStream random(seed, hash_name(std::string_view("layer test")));
    const int64_t size = tensor.size();
    for (int64_t i = 0; i < size; ++i) {
      // Rounded to float, so that the float and the double run see the same numbers.
      tensor.data()[i] =
          static_cast<float>((2.0 * static_cast<double>(i) + 1.3) / static_cast<double>(size) - 1.0);
    }
    for (int64_t i = size - 1; i > 0; --i) {
      const auto j = random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(i) + 1);
      std::swap(tensor.data()[i], tensor.data()[j]);
    }
  }

  const Operator& op_;
  BasicTensor<std::byte> saved_;
  BasicTensor<std::byte> packed_;
  BasicTensor<std::byte> shared_;
  BasicTensor<std::byte> per_thread_;
  Workspace workspace_;
  std::vector<int64_t> samples_;

 public:
  BasicTensor<T> output;
  BasicTensor<T> grad_output;
  StepContext context;
  std::vector<size_t> unwanted;  ///< inputs whose gradients nobody wants
  std::vector<uint8_t> adds;     ///< BackwardArgs::adds
  bool in_place = false;         ///< the inputs' gradients are put where grad_output is
  bool poisoning = true;         ///< a measurement turns it off
};

}  // namespace nacre
