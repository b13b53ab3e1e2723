#include <fmt/format.h>

#include <memory>
#include <optional>

#include "engine/gemm.h"
#include "engine/shape_text.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/dense_gradients.h"
#include "layers/dense_sums.h"
#include "layers/eigen_maps.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

constexpr int64_t kColumnsPerChunk = 64;

struct DenseAttrs : WeightAttrs {
  int64_t units = 0;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("units", units, 1, int64_t{1} << 24, "number of outputs");
    visit_weights(v);
  }
};

class Dense final : public ReferenceOperator<Dense> {
 public:
  Dense(const DenseAttrs& attrs, const Shape& input, Mode mode, int threads)
      : relu_(attrs.activation == Activation::kRelu),
        in_(input[1]),
        units_(attrs.units),
        most_in_place_(threads <= 1 && in_ * units_ > kFarMatrix ? kStreamedRows : kStreamedAtOnce),
        gradients_(in_, units_, relu_) {
    const int64_t n = input[0];
    info_.output = Shape{n, units_};
    info_.variables = weight_variables(attrs, Shape{in_, units_}, units_, in_, units_);
    info_.flops_per_row = 2 * in_ * units_;
    info_.variables[0].streamed = true;
    info_.shared_bytes = align_up(gemm_parallel_workspace_bytes(n, units_, in_, threads));
    if (mode == Mode::kInference) {
      if (is_packed(n)) info_.packed_bytes = packed_b_floats(in_, units_) * sizeof(float);
      return;
    }
    kernel_gradient_bytes_ = float_bytes(gradients_.chunk_rows() * units_);
    info_.per_thread_bytes = kernel_gradient_bytes_ + gradients_.thread_bytes(n);
    masked_offset_ = std::max(info_.shared_bytes, gradients_.shared_bytes(n));
    info_.shared_bytes = masked_offset_;
    if (relu_) info_.shared_bytes += align_up(static_cast<size_t>(n * units_) * sizeof(double));
    if (in_ < DenseSums::kLeastDepth) return;
    sums_.emplace(in_, units_, gradients_.chunk_rows());
    info_.per_thread_bytes = std::max(info_.per_thread_bytes, DenseSums::thread_bytes());
    info_.shared_bytes = std::max(info_.shared_bytes, sums_->shared_bytes(n));
  }

  void forward(const ForwardArgs<float>& args) const override {
    GemmArgs product;
    product.m = args.output.shape[0];
    product.n = units_;
    product.k = in_;
    product.a = args.inputs[0].data;
    product.lda = in_;
    product.b = args.variables[0].data;
    product.ldb = units_;
    product.c = args.output.data;
    product.ldc = units_;
    product.bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
    product.relu = relu_;
    if (args.packed != nullptr && is_packed(product.m)) {
      sgemm_packed_b_parallel(product, reinterpret_cast<const float*>(args.packed), args.context.threads,
                              args.workspace.shared);
    } else if (sums_.has_value()) {
      sums_->multiply(product, args.context.threads, args.workspace);
    } else {
      sgemm_parallel(product, args.context.threads, args.workspace.shared);
    }
  }

  void pack(std::span<const TensorView<const float>> variables, int /*threads*/,
            std::byte* packed) const override {
    pack_b(in_, units_, variables[0].data, units_, false, reinterpret_cast<float*>(packed));
  }

  /// Rows of the kernel at a time: their part of the input's gradient, then their gradient, and with a sink
  /// their update, while they are in the cache.
  void backward(const BackwardArgs<float>& args) const override {
    const float* grad = gradient_of_sums(args);
    const int64_t n = args.output.shape[0];
    bias_gradient(args, grad);
    gradients_.prepare(n, grad, args.context.threads, args.workspace.shared);
    const int64_t rows = gradients_.chunk_rows();
    float* const stored = args.grad_variables[0].data;
    parallel_for(chunks_of(in_, rows), args.context.threads, [&](int64_t number, int worker) {
      const int64_t begin = number * rows;
      auto* own = args.workspace.of_thread<std::byte>(worker);
      DenseGradients::Chunk chunk{n,
                                  begin,
                                  std::min(rows, in_ - begin),
                                  args.inputs[0].data,
                                  grad,
                                  args.variables[0].data,
                                  args.grad_inputs[0].data,
                                  args.workspace.shared,
                                  own + kernel_gradient_bytes_,
                                  {}};
      if (args.sink != nullptr) {
        chunk.soon = args.sink->slots(static_cast<size_t>(args.numbers[0]), begin * units_);
        // Momentum is one slot alone.
        if (chunk.soon[1] == nullptr) chunk.soon[1] = chunk.soon[0];
      }
      if (chunk.x_gradient != nullptr) gradients_.input(chunk);
      if (stored == nullptr && args.sink == nullptr) return;
      float* kernel = args.sink == nullptr ? stored + begin * units_ : reinterpret_cast<float*>(own);
      gradients_.kernel(chunk, kernel);
      if (args.sink == nullptr) return;
      args.sink->take(static_cast<size_t>(args.numbers[0]), begin * units_, chunk.rows * units_, kernel);
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const ConstMatrixMap<T> kernel(args.variables[0].data, in_, units_);
    // Row by row: Eigen multiplies one row in another order than several.
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t row, int /*worker*/) {
      const ConstRowMap<T> x(args.inputs[0].data + row * in_, in_);
      RowMap<T> y(args.output.data + row * units_, units_);
      y.noalias() = x * kernel;
      if (args.variables.size() > 1) y += ConstRowMap<T>(args.variables[1].data, units_);
      if (relu_) y = (y.array() < T{0}).select(T{0}, y);
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    const int64_t n = args.output.shape[0];
    const ConstMatrixMap<T> grad(gradient_of_sums(args), n, units_);
    if (args.grad_variables[0].data != nullptr) {
      const ConstMatrixMap<T> x(args.inputs[0].data, n, in_);
      MatrixMap<T>(args.grad_variables[0].data, in_, units_).noalias() = x.transpose() * grad;
    }
    bias_gradient(args, grad.data());
    if (args.grad_inputs[0].data != nullptr) {
      const ConstMatrixMap<T> kernel(args.variables[0].data, in_, units_);
      MatrixMap<T>(args.grad_inputs[0].data, n, in_).noalias() = grad * kernel.transpose();
    }
  }

 private:
  /// The gradient before relu: grad_output itself, or a masked copy in the workspace.
  template <typename T>
  const T* gradient_of_sums(const BackwardArgs<T>& args) const {
    if (!relu_) return args.grad_output.data;
    T* masked = reinterpret_cast<T*>(args.workspace.shared + masked_offset_);
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      const T* y = args.output.data;
      const T* grad = args.grad_output.data;
      relu_backward(end - begin, y + begin, grad + begin, masked + begin);
    });
    return masked;
  }

  template <typename T>
  void bias_gradient(const BackwardArgs<T>& args, const T* grad) const {
    if (args.grad_variables.size() < 2 || args.grad_variables[1].data == nullptr) return;
    const int64_t n = args.output.shape[0];
    parallel_for(chunks_of(units_, kColumnsPerChunk), args.context.threads, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kColumnsPerChunk;
      const int64_t count = std::min(kColumnsPerChunk, units_ - begin);
      RowMap<T> sum(args.grad_variables[1].data + begin, count);
      sum.setZero();
      for (int64_t row = 0; row < n; ++row) sum += ConstRowMap<T>(grad + row * units_ + begin, count);
    });
  }

  /// Whether the product of so many images reads the packed kernel, in prediction. One thread reads a large
  /// one in place sooner, even if twice.
  [[nodiscard]] bool is_packed(int64_t rows) const { return rows > most_in_place_; }

  bool relu_;
  int64_t in_;
  int64_t units_;
  int64_t most_in_place_;  ///< rows
  DenseGradients gradients_;
  std::optional<DenseSums> sums_;     // of forward in training, where they are deep
  size_t masked_offset_ = 0;          // shared: after what the gradients' chunks read
  size_t kernel_gradient_bytes_ = 0;  // per thread, of a chunk; then its scratch
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DenseAttrs>(*request.attributes[0]));
  const Shape& input = request.inputs[0];
  if (input.rank() != 2) {
    return Status(StatusCode::kBadData,
                  fmt::format("expected an input [N, features], found {}; put a Flatten before it",
                              batch_shape(input)));
  }
  NACRE_RETURN_IF_ERROR(check_batch_input(input));
  NACRE_RETURN_IF_ERROR(Shape::make(std::array{input[1], attrs.units}).status().at("kernel"));
  NACRE_RETURN_IF_ERROR(Shape::make(std::array{input[0], attrs.units}).status().at("output"));
  return std::unique_ptr<Operator>(std::make_unique<Dense>(attrs, input, request.mode, request.threads));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DenseAttrs>(layer.attributes));
  const std::string sums = add_node(layer, sink, "MatMul", "matmul", {layer.inputs[0], layer.variables[0]});
  return add_bias_and_activation(layer, sink, attrs, sums);
}

/// The matrix [columns, rows] transposed.
FoldedTensor transposed(const FoldedTensor& matrix) {
  const int64_t rows = matrix.shape[1];
  const int64_t columns = matrix.shape[0];
  auto values = std::make_shared<Tensor>(Shape{rows, columns});
  MatrixMap<float>(values->data(), rows, columns) =
      ConstMatrixMap<float>(matrix.values().data(), columns, rows).transpose();
  FoldedTensor result;
  result.shape = values->shape();
  result.floats = std::move(values);
  result.variable = matrix.variable;
  return result;
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() != "MatMul" || node.inputs() != 2 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  const FoldedTensor* kernel = float_input(node, 1);
  if (kernel == nullptr || kernel->shape.rank() != 2) return std::optional<RecognizedLayer>();
  NACRE_ASSIGN_OR_RETURN(const bool transpose_a, bool_attribute(node, "transpose_a", false));
  NACRE_ASSIGN_OR_RETURN(const bool transpose_b, bool_attribute(node, "transpose_b", false));
  if (transpose_a) return node_error(node, StatusCode::kUnsupported, "transposes its input");
  const Shape* input = node.input(0).shape();
  if (input == nullptr) return std::optional<RecognizedLayer>();
  // Before anything of the kernel's size is made.
  const int64_t in = kernel->shape[transpose_b ? 1 : 0];
  if (input->rank() != 2 || (*input)[1] != in) {
    return node_error(node, StatusCode::kCorrupt,
                      fmt::format("expected an input [N, {}], found {}", in, input->to_string()));
  }
  RecognizedLayer layer = begin_layer(node, 0);
  FoldedTensor& weights = layer.variables["kernel"] = transpose_b ? transposed(*kernel) : *kernel;
  layer.attributes["units"] = weights.shape[1];
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, weights.shape[1]));
  return std::optional(std::move(layer));
}

}  // namespace

OpDef dense_op() {
  OpDef op;
  op.name = "Dense";
  op.summary = "Weighs every input for every output: a fully connected layer.";
  op.formula =
      "[N, in] -> [N, units]: y = activation(x * kernel + bias), kernel [in, units], bias [units]. "
      "Initialisers: fan_in = in, fan_out = units.";
  op.attributes = document_attributes<DenseAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<DenseAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
