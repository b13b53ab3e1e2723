#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attributes.h"
#include "engine/graph_sink.h"
#include "engine/initializer.h"
#include "engine/node_view.h"
#include "engine/shape.h"
#include "engine/status.h"
#include "engine/tensor.h"

namespace nacre {

enum class Mode : uint8_t { kInference, kTraining };

/// What one execution is for. `samples` are the data set's indices of the batch's rows: with seed and epoch
/// they key every random draw, so that a draw depends on the sample and never on its place in a batch or on a
/// thread.
struct StepContext {
  Mode mode = Mode::kInference;
  int threads = 1;
  uint64_t seed = 0;
  uint64_t epoch = 0;
  std::span<const int64_t> samples;  ///< [N] in training; may be empty in inference
};

/// Scratch memory for one call, 64-byte aligned, with unspecified contents.
struct Workspace {
  std::byte* shared = nullptr;      ///< OperatorInfo::shared_bytes
  std::byte* per_thread = nullptr;  ///< threads x per_thread_stride
  size_t per_thread_stride = 0;     ///< >= OperatorInfo::per_thread_bytes, multiple of 64

  template <typename T>
  [[nodiscard]] T* shared_as() const {
    return reinterpret_cast<T*>(shared);
  }
  template <typename T>
  [[nodiscard]] T* of_thread(int worker) const {
    return reinterpret_cast<T*>(per_thread + static_cast<size_t>(worker) * per_thread_stride);
  }
};

/// Takes gradients the moment they are final, so that they need not be stored: an optimizer, which then finds
/// the variable still in the cache.
class GradientSink {
 public:
  GradientSink() = default;
  virtual ~GradientSink() = default;
  GradientSink(const GradientSink&) = delete;
  GradientSink& operator=(const GradientSink&) = delete;

  /// Elements [begin, begin + count) of the gradient of Plan::variables()[variable]; each element comes once,
  /// different ones from different threads. Those of the variable may change: the caller reads them no more.
  virtual void take(size_t variable, int64_t begin, int64_t count, const float* gradient) = 0;

  /// What take will read for element `begin` and those after it, besides the variable, to have it near by
  /// then: up to two places, others null.
  [[nodiscard]] virtual std::array<const float*, 2> slots(size_t /*variable*/, int64_t /*begin*/) const {
    return {};
  }
};

/// A variable that an operator needs; its full name is `node/name`.
struct VariableSpec {
  std::string name;  ///< "kernel", "bias", ...
  Shape shape;
  Initializer initializer;
  bool trainable = true;
  bool decay = false;  ///< weight decay applies (kernels, not biases)
  int node = 0;        ///< fused operators: which node of the chain it belongs to
  /// The momentum of a variable that follows a statistic of the batch: it is not trainable, backward writes
  /// the batch's statistic where a gradient would be, and a training step makes it momentum * variable +
  /// (1 - momentum) * statistic.
  std::optional<double> moving_average;
  /// The fast backward hands its gradient to BackwardArgs::sink, when there is one, in place of writing it.
  bool streamed = false;
};

/// T is float; or double in the reference implementation, for gradient checks. Rows [n, ...] of all views
/// agree, and n <= the batch that the operator was created for.
template <typename T>
struct ForwardArgs {
  std::span<const TensorView<const T>> inputs;
  TensorView<T> output;
  std::span<const TensorView<const T>> variables;  ///< in the order of OperatorInfo::variables
  std::byte* saved = nullptr;         ///< OperatorInfo::saved_bytes, kept until backward; null in inference
  const std::byte* packed = nullptr;  ///< what Operator::pack made of these variables; null when nothing is
  Workspace workspace;
  StepContext context;
};

/// Gradients are of the loss with respect to the thing named; backward overwrites them, but for those that it
/// is asked to add to.
template <typename T>
struct BackwardArgs {
  std::span<const TensorView<const T>> inputs;
  TensorView<const T> output;  ///< what forward wrote
  TensorView<const T> grad_output;
  std::span<const TensorView<const T>> variables;
  std::span<const TensorView<T>> grad_inputs;  ///< `.data` is null where the gradient is not wanted
  /// Of each input: whether its gradient is added to what is there; empty: of none. Only where
  /// OperatorInfo::adds_gradients allows it, and never of the reference.
  std::span<const uint8_t> adds;
  /// `.data` is null for variables that are not trainable; VariableSpec::moving_average: the statistic.
  std::span<const TensorView<T>> grad_variables;
  GradientSink* sink = nullptr;  ///< for gradients of variables that are `streamed`
  std::span<const int> numbers;  ///< of the variables, in Plan::variables(); needed with a sink
  const std::byte* saved = nullptr;
  Workspace workspace;
  StepContext context;

  [[nodiscard]] bool adds_to(size_t input) const { return !adds.empty() && adds[input] != 0; }
};

/// One image of a backward that goes image by image.
struct ImageBackward {
  int64_t n;      ///< which of the batch
  int64_t chunk;  ///< that it belongs to
  bool first;     ///< of its chunk
  int worker;
  const float* grad_output;  ///< of the image, in place of BackwardArgs'
  float* grad_input;         ///< null where it is not wanted
};

/// All that Plan needs to know of an operator before it runs. Sizes are for the full batch.
struct OperatorInfo {
  Shape output;  ///< [N, ...]
  std::vector<VariableSpec> variables;
  size_t packed_bytes = 0;      ///< what Operator::pack writes
  size_t saved_bytes = 0;       ///< state that forward leaves for backward in training
  size_t shared_bytes = 0;      ///< Workspace::shared
  size_t per_thread_bytes = 0;  ///< Workspace::of_thread
  int64_t flops_per_row = 0;    ///< forward: a multiply-add counts 2
  /// Training: forward may be called for some rows of the batch at a time, with what pack made of the
  /// variables. It needs no Workspace::shared then, and what it saves of row n begins at byte
  /// n * saved_bytes / N.
  bool forwards_rows = false;
  bool adds_gradients = false;  ///< backward can add to inputs' gradients: BackwardArgs::adds
  /// The gradients of all inputs are one and the same, of the output's size and computed element by element:
  /// those that backward overwrites may lie in one place, and where grad_output does.
  bool gradients_in_place = false;
  /// The output has the numbers of the first input in their order: a plan may have both in one place, where
  /// forward has nothing to do.
  bool is_view = false;
};

/// One operator with its attributes parsed and its shapes settled: everything is validated when it is
/// created, so that forward and backward run blind, allocate nothing and cannot fail. Immutable; may be used
/// by many threads at once, each with buffers of its own.
///
/// Every operator promises: the bits of a row of the output depend only on the same row of the inputs (and
/// the variables), not on n or the row's place; and no result depends on context.threads. The one exception:
/// in training, the rows of an operator with moving averages depend on all rows of the batch.
class Operator {
 public:
  Operator() = default;
  virtual ~Operator() = default;
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  [[nodiscard]] const OperatorInfo& info() const { return info_; }

  /// Puts the variables into the form that forward computes with, `packed` (64-byte aligned,
  /// OperatorInfo::packed_bytes). A forward that is given it spares making it; its bits are the same.
  virtual void pack(std::span<const TensorView<const float>> /*variables*/, int /*threads*/,
                    std::byte* /*packed*/) const {}
  /// The fast path. By default it is the reference.
  virtual void forward(const ForwardArgs<float>& args) const { forward_reference(args); }
  virtual void backward(const BackwardArgs<float>& args) const { backward_reference(args); }
  /// Backward image by image, of an operator with one input, for engine/image_backward.h: begin_images, then
  /// backward_image for all of the batch, then end_images. It writes the same as backward. Chunk c of images
  /// [c * n / chunks, (c + 1) * n / chunks) is done in order by one thread; image_chunks tells how many there
  /// are of a batch of n, 0 when the operator cannot go image by image.
  [[nodiscard]] virtual int64_t image_chunks(int64_t /*n*/, bool /*wants_input_gradient*/) const { return 0; }
  virtual void begin_images(const BackwardArgs<float>& /*args*/) const {}
  virtual void backward_image(const BackwardArgs<float>& /*args*/, const ImageBackward& /*image*/) const {}
  virtual void end_images(const BackwardArgs<float>& /*args*/) const {}
  /// The readable path, with the same contract.
  virtual void forward_reference(const ForwardArgs<float>& args) const = 0;
  virtual void backward_reference(const BackwardArgs<float>& args) const = 0;
  virtual void forward_reference(const ForwardArgs<double>& args) const = 0;
  virtual void backward_reference(const BackwardArgs<double>& args) const = 0;

 protected:
  OperatorInfo info_;
};

/// Spares a layer the four overloads: Derived writes `template <typename T> void reference_forward(const
/// ForwardArgs<T>&) const` and `reference_backward` once. `saved` and workspace sizes must then suffice for T
/// = double.
template <typename Derived>
class ReferenceOperator : public Operator {
 public:
  void forward_reference(const ForwardArgs<float>& args) const final {
    self().template reference_forward<float>(args);
  }
  void backward_reference(const BackwardArgs<float>& args) const final {
    self().template reference_backward<float>(args);
  }
  void forward_reference(const ForwardArgs<double>& args) const final {
    self().template reference_forward<double>(args);
  }
  void backward_reference(const BackwardArgs<double>& args) const final {
    self().template reference_backward<double>(args);
  }

 private:
  [[nodiscard]] const Derived& self() const { return static_cast<const Derived&>(*this); }
};

/// What an operator is created from: the nodes' attributes (one map for a plain op, one for each node of a
/// fused chain) and the shapes of the first node's inputs, [N, ...] with the largest batch.
struct OperatorRequest {
  std::string_view node_name;  ///< of the first node; keys the operator's random draws
  std::span<const AttrMap* const> attributes;
  std::span<const Shape> inputs;
  Mode mode = Mode::kInference;
  int threads = 1;
};

/// The one description of a layer. Shape inference, kernels, variables, documentation, files and tests start
/// here.
struct OpDef {
  std::string name;     ///< Keras's, such as "Conv2D"
  int version = 1;      ///< raised when the meaning of attributes changes
  std::string summary;  ///< one sentence
  std::string formula;  ///< shapes and formula, with its source where there is one
  std::vector<AttrDoc> attributes;
  int min_inputs = 1;
  int max_inputs = 1;
  /// Does nothing in inference: the redrawn prediction graph leaves it out.
  bool training_only = false;
  /// A fused operator's chain of op names, each feeding only the next; empty for a plain op. Plan puts the
  /// operator in place of such a chain. Fused operators never appear in graphs or files.
  std::vector<std::string> pattern;
  /// Checks attributes and shapes and makes the operator. Errors are kBadData with a reason (Plan adds the
  /// node's name). A fused op returns a null pointer for a chain that it cannot take.
  Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&) = nullptr;
  /// The attributes with every default written out, or why they are wrong.
  Result<AttrMap> (*normalize)(const AttrMap&) = nullptr;
  /// Adds nodes of TensorFlow's that compute the same in inference, and returns the tensor that is the
  /// layer's output. Every built-in op that graphs may name has it; what uses an op without it becomes no
  /// SavedModel. kUnsupported, with a reason, for what TensorFlow cannot express.
  Result<std::string> (*to_tensorflow)(const DescribeRequest&, GraphSink&) = nullptr;
  /// What this layer is when it begins at that node of a foreign graph; nothing when it does not. The inverse
  /// of to_tensorflow, and the forms that TensorFlow's own libraries write. Every op that graphs may name has
  /// it. Errors name the node: kUnsupported for an op that is meant but with a setting that the layer lacks,
  /// kCorrupt for attributes that are wrong.
  Result<std::optional<RecognizedLayer>> (*from_tensorflow)(const NodeView&) = nullptr;
};

/// The known ops, by name. A value that is handed on (Plan, model files, bundles); there is no global
/// registry.
class Registry {
 public:
  explicit Registry(std::vector<OpDef> ops) : ops_(std::move(ops)) {}

  /// The op that graphs may name, or null. Fused ops are not found.
  [[nodiscard]] const OpDef* find(std::string_view name) const;
  [[nodiscard]] std::span<const OpDef> all() const { return ops_; }
  /// "Add, AvgPool2D, ...": the ops that graphs may name, for messages.
  [[nodiscard]] std::string names() const;

 private:
  std::vector<OpDef> ops_;
};

}  // namespace nacre
