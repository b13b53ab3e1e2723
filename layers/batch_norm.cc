#include "layers/batch_norm.h"

#include <algorithm>
#include <memory>

#include "layers/batch_norm_kernels.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

// Elements of one chunk of positions: they should stay in a core's second-level cache between two passes.
constexpr int64_t kChunkElements = 16 * 1024;
constexpr int64_t kLeastPositions = 32;

/// As BatchNormReference has them.
struct FastKernels {
  // NOLINTBEGIN(readability-identifier-naming): functions' names
  static constexpr auto batch_moments = nacre::batch_moments;
  static constexpr auto map_channels = nacre::map_channels;
  static constexpr auto sum_gradients = nacre::sum_gradients;
  static constexpr auto map_gradients = nacre::map_gradients;
  // NOLINTEND(readability-identifier-naming)
};

/// Normalises channels, the last extent: positions [P, C], where P = N * H * W; and perhaps clips the
/// results, in the same sweeps. Sums over positions are taken in double over chunks of a fixed number of
/// positions, and added in the order of the chunks.
class BatchNorm final : public ReferenceOperator<BatchNorm> {
 public:
  BatchNorm(const BatchNormAttrs& attrs, const Shape& shape, Mode mode, Clip clip)
      : attrs_(attrs),
        clip_(clip),
        channels_(shape[shape.rank() - 1]),
        positions_per_chunk_(std::max(kLeastPositions, kChunkElements / channels_)) {
    info_.output = shape;
    info_.variables = batch_norm_variables(attrs, channels_);
    info_.flops_per_row = 2 * shape.elements_per_row();
    info_.gradients_in_place = true;
    const auto doubles = [&](int64_t rows) { return static_cast<size_t>(rows * channels_) * sizeof(double); };
    info_.shared_bytes = doubles(kCoefficients);
    if (mode == Mode::kTraining) {
      info_.saved_bytes = doubles(2);
      info_.shared_bytes += doubles(2 * chunks_of(shape.num_elements() / channels_, positions_per_chunk_));
    }
  }

  void forward(const ForwardArgs<float>& args) const override { run_forward<FastKernels>(args); }
  void backward(const BackwardArgs<float>& args) const override { run_backward<FastKernels>(args); }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    run_forward<BatchNormReference>(args);
  }
  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    run_backward<BatchNormReference>(args);
  }

 private:
  // Rows of T at the start of the shared workspace.
  enum Coefficient : uint8_t { kScale, kShift, kInverse, kOffset, kA, kB, kD, kCoefficients };
  template <typename T>
  [[nodiscard]] T* coefficients(const Workspace& workspace, Coefficient row) const {
    return workspace.shared_as<T>() + row * channels_;
  }

  /// Scale and shift in the workspace; `statistics` are the batch's, or null: the moving averages.
  template <typename T>
  [[nodiscard]] ChannelMaps<T> make_maps(const Workspace& workspace, const BatchNormVariables<T>& variables,
                                         const double* statistics) const {
    T* scale = coefficients<T>(workspace, kScale);
    T* shift = coefficients<T>(workspace, kShift);
    for (int64_t c = 0; c < channels_; ++c) {
      const ChannelAffine affine =
          statistics != nullptr
              ? variables.affine(c, statistics[c], statistics[channels_ + c], attrs_.epsilon)
              : variables.moving_affine(c, attrs_.epsilon);
      scale[c] = static_cast<T>(affine.scale);
      shift[c] = static_cast<T>(affine.shift);
    }
    return {channels_, scale, shift, clip_};
  }

  template <typename Kernels, typename T>
  void run_forward(const ForwardArgs<T>& args) const {
    const BatchNormVariables<T> variables(attrs_, args.variables);
    auto* statistics = reinterpret_cast<double*>(args.saved);
    if (args.context.mode != Mode::kTraining) statistics = nullptr;
    if (statistics != nullptr) batch_statistics<Kernels>(args, statistics);
    const ChannelMaps<T> maps = make_maps(args.workspace, variables, statistics);
    for_chunks(args.output.size(), args.context.threads, [&](int64_t /*chunk*/, int64_t begin, int64_t end) {
      Kernels::map_channels(maps, end - begin, args.inputs[0].data + begin * channels_,
                            args.output.data + begin * channels_);
    });
  }

  /// Ioffe, Szegedy 2015, section 3. With xn = (x - mean) / sqrt(variance + epsilon), written as x * inverse
  /// + offset, and sums over the P positions: dbeta = sum dy, dgamma = sum dy * xn, dx = gamma * inverse *
  /// (dy - dbeta / P - xn * dgamma / P). dy is that before the clipping.
  template <typename Kernels, typename T>
  void run_backward(const BackwardArgs<T>& args) const {
    const BatchNormVariables<T> variables(attrs_, args.variables);
    const auto* statistics = reinterpret_cast<const double*>(args.saved);
    const ChannelMaps<T> maps = make_maps(args.workspace, variables, statistics);
    const double* sums = gradient_sums<Kernels>(args, maps, statistics);
    write_variable_gradients(args, sums, statistics);
    T* grad_in = args.grad_inputs[0].data;
    if (grad_in == nullptr) return;

    // dx = a * dy + b * x + d, channel by channel.
    const int64_t count = args.output.size() / channels_;
    const auto positions = static_cast<double>(count);
    T* a = coefficients<T>(args.workspace, kA);
    T* b = coefficients<T>(args.workspace, kB);
    T* d = coefficients<T>(args.workspace, kD);
    for (int64_t c = 0; c < channels_; ++c) {
      const double root = 1.0 / std::sqrt(statistics[channels_ + c] + attrs_.epsilon);
      const double gain = root * (variables.gamma == nullptr ? 1.0 : static_cast<double>(variables.gamma[c]));
      const double slope = gain * sums[channels_ + c] / positions;
      a[c] = static_cast<T>(gain);
      b[c] = static_cast<T>(-slope * root);
      d[c] = static_cast<T>(slope * root * statistics[c] - gain * sums[c] / positions);
    }
    for_chunks(args.output.size(), args.context.threads, [&](int64_t /*chunk*/, int64_t begin, int64_t end) {
      const int64_t at = begin * channels_;
      Kernels::map_gradients(maps, end - begin, args.inputs[0].data + at, args.grad_output.data + at, a, b, d,
                             grad_in + at);
    });
  }

  /// body(chunk, first position, end position).
  template <typename Body>
  void for_chunks(int64_t elements, int threads, const Body& body) const {
    const int64_t positions = elements / channels_;
    parallel_for(chunks_of(positions, positions_per_chunk_), threads, [&](int64_t chunk, int /*worker*/) {
      const int64_t begin = chunk * positions_per_chunk_;
      body(chunk, begin, std::min(positions, begin + positions_per_chunk_));
    });
  }

  /// Two rows of sums for chunk `chunk`.
  [[nodiscard]] double* partial(const Workspace& workspace, int64_t chunk) const {
    return workspace.shared_as<double>() + (kCoefficients + 2 * chunk) * channels_;
  }

  /// statistics: mean [C], then variance [C] (of the batch itself, not of what it is a sample of: Keras's).
  /// Each chunk's mean and sum of squared deviations, joined by the formula of Chan, Golub, LeVeque
  /// ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).
  template <typename Kernels, typename T>
  void batch_statistics(const ForwardArgs<T>& args, double* statistics) const {
    for_chunks(args.output.size(), args.context.threads, [&](int64_t chunk, int64_t begin, int64_t end) {
      double* part = partial(args.workspace, chunk);
      Kernels::batch_moments(end - begin, channels_, args.inputs[0].data + begin * channels_, part,
                             part + channels_);
    });
    double* mean = statistics;
    double* squares = statistics + channels_;
    std::fill(mean, mean + 2 * channels_, 0.0);
    const int64_t positions = args.output.size() / channels_;
    for (int64_t begin = 0; begin < positions; begin += positions_per_chunk_) {
      const double* part = partial(args.workspace, begin / positions_per_chunk_);
      const auto before = static_cast<double>(begin);
      const auto count = static_cast<double>(std::min(positions - begin, positions_per_chunk_));
      for (int64_t c = 0; c < channels_; ++c) {
        const double step = part[c] - mean[c];
        mean[c] += step * count / (before + count);
        squares[c] += part[channels_ + c] + step * step * before * count / (before + count);
      }
    }
    for (int64_t c = 0; c < channels_; ++c) squares[c] /= static_cast<double>(positions);
  }

  /// [2, C] in the workspace: the sums over positions of dy, and of dy * xn.
  template <typename Kernels, typename T>
  const double* gradient_sums(const BackwardArgs<T>& args, const ChannelMaps<T>& maps,
                              const double* statistics) const {
    T* inverse = coefficients<T>(args.workspace, kInverse);
    T* offset = coefficients<T>(args.workspace, kOffset);
    for (int64_t c = 0; c < channels_; ++c) {
      const double root = 1.0 / std::sqrt(statistics[channels_ + c] + attrs_.epsilon);
      inverse[c] = static_cast<T>(root);
      offset[c] = static_cast<T>(-statistics[c] * root);
    }
    for_chunks(args.output.size(), args.context.threads, [&](int64_t chunk, int64_t begin, int64_t end) {
      double* part = partial(args.workspace, chunk);
      const int64_t at = begin * channels_;
      Kernels::sum_gradients(maps, end - begin, args.inputs[0].data + at, args.grad_output.data + at, inverse,
                             offset, part, part + channels_);
    });
    double* sums = partial(args.workspace, 0);
    const int64_t chunks = chunks_of(args.output.size() / channels_, positions_per_chunk_);
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      const double* part = partial(args.workspace, chunk);
      for (int64_t i = 0; i < 2 * channels_; ++i) sums[i] += part[i];
    }
    return sums;
  }

  template <typename T>
  void write_variable_gradients(const BackwardArgs<T>& args, const double* sums,
                                const double* statistics) const {
    size_t next = 0;
    const auto write = [&](const double* values) {
      T* out = args.grad_variables[next++].data;
      for (int64_t c = 0; out != nullptr && c < channels_; ++c) out[c] = static_cast<T>(values[c]);
    };
    if (attrs_.scale) write(sums + channels_);
    if (attrs_.center) write(sums);
    write(statistics);
    write(statistics + channels_);
  }

  BatchNormAttrs attrs_;
  Clip clip_;
  int64_t channels_;
  int64_t positions_per_chunk_;
};

template <Clip clip>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<BatchNormAttrs>(*request.attributes[0]));
  const Shape& shape = request.inputs[0];
  NACRE_RETURN_IF_ERROR(check_channels_input(shape));
  return std::unique_ptr<Operator>(std::make_unique<BatchNorm>(attrs, shape, request.mode, clip));
}

/// FusedBatchNormV3 takes images only. Elsewhere: y = x * scale + (beta - mean * scale), scale = gamma /
/// sqrt(variance + epsilon).
Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<BatchNormAttrs>(layer.attributes));
  const Shape& shape = layer.shapes[0];
  const std::string& x = layer.inputs[0];
  const auto epsilon = static_cast<float>(attrs.epsilon);
  size_t next = 0;
  std::string gamma = attrs.scale ? layer.variables[next++] : "";
  std::string beta = attrs.center ? layer.variables[next++] : "";
  const std::string& mean = layer.variables[next++];
  const std::string& variance = layer.variables[next];
  if (shape.rank() == 4) {
    const Shape channels{shape[3]};
    if (!attrs.scale) gamma = add_float(layer, sink, "ones", 1.0F, channels);
    if (!attrs.center) beta = add_float(layer, sink, "zeros", 0.0F, channels);
    return add_node(layer, sink, "FusedBatchNormV3", "", {x, gamma, beta, mean, variance},
                    {{"U", TfType::kFloat}, {"epsilon", epsilon}, {"is_training", false}});
  }
  const std::string least = add_float(layer, sink, "epsilon", epsilon);
  const std::string raised = add_node(layer, sink, "AddV2", "variance", {variance, least});
  std::string scale = add_node(layer, sink, "Rsqrt", "rsqrt", {raised});
  if (attrs.scale) scale = add_node(layer, sink, "Mul", "scale", {scale, gamma});
  const std::string scaled = add_node(layer, sink, "Mul", "scaled", {x, scale});
  const std::string middle = add_node(layer, sink, "Mul", "middle", {mean, scale});
  if (!attrs.center) return add_node(layer, sink, "Sub", "", {scaled, middle});
  const std::string shift = add_node(layer, sink, "Sub", "shift", {beta, middle});
  return add_node(layer, sink, "AddV2", "", {scaled, shift});
}

OpDef clipped_batch_norm_op(const std::string& activation,
                            Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&)) {
  OpDef op;
  op.pattern = {"BatchNorm", activation};
  op.name = "BatchNorm+" + activation;
  op.summary = op.name + " in the same sweeps over memory.";
  op.formula = "[N, ..., C] -> [N, ..., C]: BatchNorm, then " + activation + ".";
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  return op;
}

}  // namespace

std::vector<VariableSpec> batch_norm_variables(const BatchNormAttrs& attrs, int64_t channels, int node) {
  std::vector<VariableSpec> variables;
  const auto add = [&](const char* name, InitializerKind start, std::optional<double> moving_average) {
    VariableSpec spec;
    spec.name = name;
    spec.shape = Shape{channels};
    spec.initializer.kind = start;
    spec.trainable = !moving_average.has_value();
    spec.node = node;
    spec.moving_average = moving_average;
    variables.push_back(std::move(spec));
  };
  if (attrs.scale) add("gamma", InitializerKind::kOnes, std::nullopt);
  if (attrs.center) add("beta", InitializerKind::kZeros, std::nullopt);
  add("moving_mean", InitializerKind::kZeros, attrs.momentum);
  add("moving_variance", InitializerKind::kOnes, attrs.momentum);
  return variables;
}

OpDef fused_batch_norm_op(const std::string& layer, const std::string& activation, const std::string& formula,
                          Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&)) {
  OpDef op;
  op.pattern = {layer, "BatchNorm"};
  if (!activation.empty()) op.pattern.push_back(activation);
  op.name = layer + "+BatchNorm" + (activation.empty() ? "" : "+" + activation);
  op.summary = "In inference, " + op.name + " without storing what lies between.";
  op.formula = formula + (activation.empty() ? "." : ", then " + activation + ".");
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  return op;
}

OpDef batch_norm_relu_op() {
  return clipped_batch_norm_op("ReLU", create<Clip::kRelu>);
}

OpDef batch_norm_relu6_op() {
  return clipped_batch_norm_op("ReLU6", create<Clip::kRelu6>);
}

OpDef batch_norm_op() {
  OpDef op;
  op.name = "BatchNorm";
  op.summary = "Brings every channel to mean 0 and variance 1, then scales and shifts it.";
  op.formula =
      "[N, ..., C] -> [N, ..., C]: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, channel by "
      "channel "
      "(Ioffe, Szegedy 2015). In training, mean and variance are those of the batch over all its positions "
      "(variance with divisor N * H * W), and a step moves the averages: moving = momentum * moving + (1 - "
      "momentum) * batch's. In inference they are moving_mean and moving_variance; behind a convolution they "
      "are folded into its kernel. gamma [C] and moving_variance [C] start at 1, beta [C] and moving_mean "
      "[C] "
      "at 0.";
  op.attributes = document_attributes<BatchNormAttrs>();
  op.create = create<Clip::kNone>;
  op.normalize = normalize_attributes<BatchNormAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = recognize_batch_norm;
  return op;
}

}  // namespace nacre
