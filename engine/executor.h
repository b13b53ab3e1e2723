#pragma once

#include <vector>

#include "engine/packed_variables.h"
#include "engine/plan.h"
#include "engine/variable_store.h"

namespace nacre {

/// Is told of every operator that an executor runs, on the executor's thread; for measurements.
class UnitObserver {
 public:
  enum class Pass : uint8_t { kForward, kBackward };

  UnitObserver() = default;
  virtual ~UnitObserver() = default;
  UnitObserver(const UnitObserver&) = delete;
  UnitObserver& operator=(const UnitObserver&) = delete;
  /// Around the pass of Plan::units()[unit].
  virtual void begin(size_t unit, Pass pass) = 0;
  virtual void end(size_t unit, Pass pass) = 0;
};

/// Runs a plan: owns the activations, gradients and scratch of one execution at a time. Use one per thread;
/// plan and variables are shared and must outlive it.
class Executor {
 public:
  /// Allocates everything that running will need.
  explicit Executor(const Plan& plan);

  /// Uses the variables of `store` from now on (by reference: an optimizer's updates are seen, unless
  /// `packed` holds what was made of them before; it may be null). kBadData when one is missing or has
  /// another shape.
  Status bind(const VariableStore& store, const PackedVariables* packed = nullptr);

  /// Tells `observer` (null: nobody) of every operator from now on; it must outlive the executor, whose plan
  /// has no image loop.
  void observe(UnitObserver* observer) { observer_ = observer; }

  /// The graph's output [n, ...] for `input` [n, H, W, C], n <= the plan's batch; valid until the next call.
  /// Needs bind. Uses at most the plan's threads.
  TensorView<const float> forward(TensorView<const float> input, const StepContext& requested);

  /// Gradients of the loss with respect to every trainable variable, given that with respect to the output of
  /// the forward just done, [n, ...]. Same input and context as then; the plan must be one for training. Once
  /// for each forward: it reuses the memory of values that it has done with. `sink` gets the gradients of
  /// variables that are streamed, and is there when the plan streams.
  void backward(TensorView<const float> input, TensorView<const float> grad_output,
                const StepContext& requested, GradientSink* sink = nullptr);

  /// The gradient of Plan::variables()[i], or the batch's statistic for a moving average; empty for one that
  /// is neither trained nor moved, or is streamed. Valid until the next backward.
  [[nodiscard]] TensorView<const float> gradient(size_t i) const { return gradients_[i].view(); }

  /// What Plan::units()[unit] has made of the plan's whole batch, for an observer: valid from its end() of
  /// the forward pass until the next operator begins, for later ones may use the same memory.
  [[nodiscard]] TensorView<const float> output(size_t unit);

 private:
  /// Rows of the batch that go through units together, and with what.
  struct Rows {
    int64_t first = 0;
    int64_t count = 0;
    std::byte* loop_arena = nullptr;  ///< of the thread, in the image loop
    Workspace workspace;
    std::vector<TensorView<const float>>* inputs = nullptr;  ///< of the unit at work
    bool packed = false;  ///< training: the variables are in packed_memory_
  };

  [[nodiscard]] TensorView<float> at_offset(const Unit& unit, size_t offset, int64_t n);
  [[nodiscard]] TensorView<float> output_of(size_t unit, const Rows& rows);
  void collect_inputs(const Unit& unit, TensorView<const float> input, const Rows& rows);
  [[nodiscard]] Workspace workspace();
  /// All rows of the batch, on all threads.
  [[nodiscard]] Rows whole(int64_t n);
  TensorView<const float> forward_units(TensorView<const float> input, const StepContext& context);
  void forward_unit(size_t i, TensorView<const float> input, const Rows& rows, const StepContext& context);
  void loop_over_images(TensorView<const float> input, const StepContext& context);
  /// What backward was called with.
  struct BackwardPass {
    TensorView<const float> input;
    TensorView<const float> grad_output;
    const StepContext& context;
    GradientSink* sink;
  };
  /// What BackwardArgs of one unit look at.
  struct UnitViews {
    std::vector<TensorView<const float>> inputs;
    std::vector<TensorView<float>> input_gradients;
  };
  void backward_units(const BackwardPass& pass);
  void backward_unit(size_t i, const BackwardPass& pass);
  void backward_group(const ImageGroup& group, const BackwardPass& pass);
  [[nodiscard]] BackwardArgs<float> backward_args(size_t i, const BackwardPass& pass, UnitViews& views);
  /// With no more threads than there is scratch memory for.
  [[nodiscard]] StepContext within_plan(const StepContext& requested) const;

  const Plan* plan_;
  UnitObserver* observer_ = nullptr;
  const PackedVariables* packed_ = nullptr;
  BasicTensor<std::byte> arena_;
  BasicTensor<std::byte> scratch_;
  BasicTensor<std::byte> loop_memory_;    // of each thread: the image loop's arena, and its shared workspace
  BasicTensor<std::byte> packed_memory_;  // training: the variables of the image loop's units
  std::vector<Tensor> gradients_;
  std::vector<std::vector<TensorView<const float>>> variables_;     // of each unit
  std::vector<std::vector<TensorView<float>>> variable_gradients_;  // of each unit
  std::vector<std::vector<TensorView<const float>>> inputs_;        // of the unit at work, of each thread
  std::vector<UnitViews> views_;    // of the unit, or the group of units, at work in backward
  std::vector<ImageStage> stages_;  // of the group
};

}  // namespace nacre
