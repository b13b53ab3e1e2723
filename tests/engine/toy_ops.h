#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph.h"
#include "engine/op_def.h"
#include "engine/parallel.h"

namespace nacre {

// Operators simple enough to calculate their gradients by hand, which use all that an executor offers:
// variables with and without decay, saved state, both workspaces.

struct ToyScaleAttrs {
  bool trainable = true;
  bool fusable = true;
  int64_t width = 0;  ///< 0: no check of the row's elements
  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("trainable", trainable, "whether factor and shift are trained");
    v.field("fusable", fusable, "whether ScaleSquare takes it");
    v.field("width", width, 0, 1000, "elements that a row must have");
  }
};

struct ToyNoAttrs {
  template <typename Visitor>
  void visit(Visitor& /*v*/) {}
};

/// Variables of Scale: factor and shift, of the shape of a row.
inline std::vector<VariableSpec> toy_scale_variables(const ToyScaleAttrs& attrs, const Shape& input) {
  const Shape row{input.elements_per_row()};
  Initializer random;
  random.kind = InitializerKind::kTruncatedNormal;
  random.stddev = 0.5;
  return {{"factor", row, random, attrs.trainable, true, 0, {}},
          {"shift", row, {}, attrs.trainable, false, 0, {}}};
}

/// The gradients of factor and shift: sums over the rows of grad * x, and of grad.
template <typename T>
void toy_scale_backward(const BackwardArgs<T>& args, const T* grad) {
  const int64_t width = args.output.shape.elements_per_row();
  const int64_t rows = args.output.shape[0];
  const T* x = args.inputs[0].data;
  for (int64_t j = 0; j < width; ++j) {
    T factor = 0;
    T shift = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = i * width + j;
      factor += grad[at] * x[at];
      shift += grad[at];
      if (!args.grad_inputs[0].empty()) args.grad_inputs[0].data[at] = grad[at] * args.variables[0].data[j];
    }
    if (!args.grad_variables[0].empty()) args.grad_variables[0].data[j] = factor;
    if (!args.grad_variables[1].empty()) args.grad_variables[1].data[j] = shift;
  }
}

/// y = factor * x + shift, for each element of a row its own.
class ToyScale final : public ReferenceOperator<ToyScale> {
 public:
  ToyScale(const ToyScaleAttrs& attrs, const Shape& input) {
    info_.output = input;
    info_.variables = toy_scale_variables(attrs, input);
    info_.flops_per_row = 2 * input.elements_per_row();
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const int64_t width = args.output.shape.elements_per_row();
    for (int64_t i = 0; i < args.output.size(); ++i) {
      args.output.data[i] =
          args.inputs[0].data[i] * args.variables[0].data[i % width] + args.variables[1].data[i % width];
    }
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    toy_scale_backward(args, args.grad_output.data);
  }
};

/// y = x^2. Goes by way of its saved state and its threads' workspaces, so that both must be where they
/// should be.
class ToySquare final : public ReferenceOperator<ToySquare> {
 public:
  ToySquare(const Shape& input, Mode mode) {
    info_.output = input;
    info_.flops_per_row = input.elements_per_row();
    info_.per_thread_bytes = static_cast<size_t>(input.elements_per_row()) * sizeof(double);
    if (mode == Mode::kTraining) {
      info_.saved_bytes = static_cast<size_t>(input.num_elements()) * sizeof(double);
    }
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const int64_t width = args.output.shape.elements_per_row();
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t row, int worker) {
      T* scratch = args.workspace.template of_thread<T>(worker);
      const T* x = args.inputs[0].data + row * width;
      std::copy(x, x + width, scratch);
      for (int64_t j = 0; j < width; ++j) args.output.data[row * width + j] = scratch[j] * scratch[j];
    });
    if (args.saved != nullptr) {
      std::memcpy(args.saved, args.inputs[0].data, static_cast<size_t>(args.output.size()) * sizeof(T));
    }
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].empty()) return;
    const T* x = reinterpret_cast<const T*>(args.saved);
    for (int64_t i = 0; i < args.output.size(); ++i) {
      args.grad_inputs[0].data[i] = 2 * x[i] * args.grad_output.data[i];
    }
  }
};

/// The sum of two or three inputs. Its backward can all that one can do with gradients that are there
/// already.
class ToySum final : public ReferenceOperator<ToySum> {
 public:
  explicit ToySum(const Shape& input) {
    info_.output = input;
    info_.adds_gradients = true;
    info_.gradients_in_place = true;
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    for (int64_t i = 0; i < args.output.size(); ++i) {
      T sum = 0;
      for (const auto& input : args.inputs) sum += input.data[i];
      args.output.data[i] = sum;
    }
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    for (size_t k = 0; k < args.grad_inputs.size(); ++k) {
      T* to = args.grad_inputs[k].data;
      if (args.grad_inputs[k].empty()) continue;
      for (int64_t i = 0; i < args.grad_output.size(); ++i) {
        to[i] = (args.adds_to(k) ? to[i] : T{0}) + args.grad_output.data[i];
      }
    }
  }
};

/// y = x: what the tests take for Softmax and for an op of training.
class ToyIdentity : public ReferenceOperator<ToyIdentity> {
 public:
  explicit ToyIdentity(const Shape& input) { info_.output = input; }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    copy(args.inputs[0].data, args.output);
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (!args.grad_inputs[0].empty()) copy(args.grad_output.data, args.grad_inputs[0]);
  }

 private:
  template <typename T>
  static void copy(const T* from, const TensorView<T>& to) {
    if (from != to.data) std::copy(from, from + to.size(), to.data);
  }
};

/// The same, where x lies when the plan has it so.
class ToyView final : public ToyIdentity {
 public:
  explicit ToyView(const Shape& input) : ToyIdentity(input) {
    info_.is_view = true;
    info_.gradients_in_place = true;
  }
};

/// Scale and Square at once: y = (factor * x + shift)^2, by way of the shared workspace.
class ToyScaleSquare final : public ReferenceOperator<ToyScaleSquare> {
 public:
  ToyScaleSquare(const ToyScaleAttrs& attrs, const Shape& input) {
    info_.output = input;
    info_.variables = toy_scale_variables(attrs, input);
    info_.flops_per_row = 3 * input.elements_per_row();
    info_.shared_bytes = static_cast<size_t>(input.num_elements()) * sizeof(double);
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    T* z = args.workspace.template shared_as<T>();
    for (int64_t i = 0; i < args.output.size(); ++i) {
      z[i] = scaled(args.inputs[0].data, args.variables, i, args.output.shape.elements_per_row());
    }
    for (int64_t i = 0; i < args.output.size(); ++i) args.output.data[i] = z[i] * z[i];
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    T* grad = args.workspace.template shared_as<T>();
    for (int64_t i = 0; i < args.output.size(); ++i) {
      const T z = scaled(args.inputs[0].data, args.variables, i, args.output.shape.elements_per_row());
      grad[i] = 2 * z * args.grad_output.data[i];
    }
    toy_scale_backward(args, grad);
  }

 private:
  template <typename T>
  static T scaled(const T* x, std::span<const TensorView<const T>> variables, int64_t i, int64_t width) {
    return x[i] * variables[0].data[i % width] + variables[1].data[i % width];
  }
};

inline Result<std::unique_ptr<Operator>> create_toy_scale(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ToyScaleAttrs>(*request.attributes[0]));
  const int64_t width = request.inputs[0].elements_per_row();
  if (attrs.width != 0 && attrs.width != width) {
    return Status(StatusCode::kBadData,
                  "a row of " + std::to_string(width) + " elements, expected " + std::to_string(attrs.width));
  }
  return std::unique_ptr<Operator>(std::make_unique<ToyScale>(attrs, request.inputs[0]));
}

inline Result<std::unique_ptr<Operator>> create_toy_scale_square(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ToyScaleAttrs>(*request.attributes[0]));
  if (!attrs.fusable) return std::unique_ptr<Operator>();
  return std::unique_ptr<Operator>(std::make_unique<ToyScaleSquare>(attrs, request.inputs[0]));
}

inline Result<std::unique_ptr<Operator>> create_toy_square(const OperatorRequest& request) {
  return std::unique_ptr<Operator>(std::make_unique<ToySquare>(request.inputs[0], request.mode));
}

template <typename Op>
Result<std::unique_ptr<Operator>> create_toy(const OperatorRequest& request) {
  for (const Shape& shape : request.inputs) {
    if (!(shape == request.inputs[0])) {
      return Status(StatusCode::kBadData,
                    "inputs " + request.inputs[0].to_string() + " and " + shape.to_string() + " differ");
    }
  }
  return std::unique_ptr<Operator>(std::make_unique<Op>(request.inputs[0]));
}

inline OpDef toy_op(std::string name, Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&)) {
  OpDef op;
  op.name = std::move(name);
  op.create = create;
  return op;
}

/// Scale, Square, Sum, View, Noise (of training only), Softmax (by name only), and ScaleSquare, which is
/// fused.
inline Registry toy_registry() {
  std::vector<OpDef> ops;
  ops.push_back(toy_op("Scale", create_toy_scale));
  ops.push_back(toy_op("Square", create_toy_square));
  ops.push_back(toy_op("Sum", create_toy<ToySum>));
  ops.back().min_inputs = 2;
  ops.back().max_inputs = 3;
  ops.push_back(toy_op("View", create_toy<ToyView>));
  ops.push_back(toy_op("Noise", create_toy<ToyIdentity>));
  ops.back().training_only = true;
  ops.push_back(toy_op("Softmax", create_toy<ToyIdentity>));
  ops.push_back(toy_op("ScaleSquare", create_toy_scale_square));
  ops.back().pattern = {"Scale", "Square"};
  return Registry(std::move(ops));
}

inline Node toy_node(std::string name, std::string op, std::vector<std::string> inputs,
                     AttrMap attributes = {}) {
  Node node;
  node.name = std::move(name);
  node.op = std::move(op);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  return node;
}

}  // namespace nacre
