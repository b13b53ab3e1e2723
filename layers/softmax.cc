#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "engine/shape_text.h"
#include "engine/vector_math.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

constexpr int64_t kRowsPerChunk = 64;

// Plain loops: Eigen's sums depend on the alignment of a row, and equal rows must have equal bits.
template <typename T>
void softmax_row(const T* x, int64_t classes, T* y) {
  T largest = x[0];
  for (int64_t c = 1; c < classes; ++c) largest = x[c] > largest || std::isnan(x[c]) ? x[c] : largest;
  T sum{0};
  for (int64_t c = 0; c < classes; ++c) {
    y[c] = std::exp(x[c] - largest);
    sum += y[c];
  }
  for (int64_t c = 0; c < classes; ++c) y[c] /= sum;
}

template <typename T>
void softmax_row_gradient(const T* y, const T* grad_y, int64_t classes, T* grad_x) {
  T dot{0};
  for (int64_t c = 0; c < classes; ++c) dot += y[c] * grad_y[c];
  for (int64_t c = 0; c < classes; ++c) grad_x[c] = y[c] * (grad_y[c] - dot);
}

class Softmax final : public ReferenceOperator<Softmax> {
 public:
  explicit Softmax(const Shape& shape) { info_.output = shape; }

  void forward(const ForwardArgs<float>& args) const override {
    const int64_t classes = args.output.shape[1];
    for_rows(args.output.shape[0], args.context.threads, [&](int64_t row) {
      softmax_forward(classes, args.inputs[0].data + row * classes, args.output.data + row * classes);
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t classes = args.output.shape[1];
    for_rows(args.output.shape[0], args.context.threads, [&](int64_t row) {
      softmax_backward(classes, args.output.data + row * classes, args.grad_output.data + row * classes,
                       args.grad_inputs[0].data + row * classes);
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const int64_t classes = args.output.shape[1];
    for_rows(args.output.shape[0], args.context.threads, [&](int64_t row) {
      softmax_row(args.inputs[0].data + row * classes, classes, args.output.data + row * classes);
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t classes = args.output.shape[1];
    for_rows(args.output.shape[0], args.context.threads, [&](int64_t row) {
      softmax_row_gradient(args.output.data + row * classes, args.grad_output.data + row * classes, classes,
                           args.grad_inputs[0].data + row * classes);
    });
  }

 private:
  template <typename Body>
  static void for_rows(int64_t rows, int threads, const Body& body) {
    parallel_for(chunks_of(rows, kRowsPerChunk), threads, [&](int64_t chunk, int /*worker*/) {
      const int64_t end = std::min(rows, (chunk + 1) * kRowsPerChunk);
      for (int64_t row = chunk * kRowsPerChunk; row < end; ++row) body(row);
    });
  }
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_RETURN_IF_ERROR(parse_attributes<NoAttrs>(*request.attributes[0]).status());
  const Shape& shape = request.inputs[0];
  if (shape.rank() != 2) {
    return Status(
        StatusCode::kBadData,
        fmt::format("expected an input [N, classes], found {}; put a Flatten before it", batch_shape(shape)));
  }
  NACRE_RETURN_IF_ERROR(check_batch_input(shape));
  return std::unique_ptr<Operator>(std::make_unique<Softmax>(shape));
}

}  // namespace

OpDef softmax_op() {
  OpDef op;
  op.name = "Softmax";
  op.summary = "Turns each row of scores into probabilities that sum to 1.";
  op.formula =
      "[N, C] -> [N, C]: y_c = exp(x_c - max(x)) / sum_k exp(x_k - max(x)). Gradient: dx_c = y_c * (dy_c - "
      "sum_k y_k * dy_k).";
  op.attributes = document_attributes<NoAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  op.to_tensorflow = describe_as<"Softmax">;
  op.from_tensorflow = recognize_as<"Softmax">;
  return op;
}

}  // namespace nacre
