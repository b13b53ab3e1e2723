#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/image_backward.h"
#include "engine/image_loop.h"
#include "engine/op_def.h"
#include "engine/variable_store.h"

namespace nacre {

struct PlanOptions {
  int64_t batch = 1;  ///< the most rows that an execution may have
  Mode mode = Mode::kInference;
  int threads = 1;         ///< the most threads that an execution may use
  bool reference = false;  ///< run the readable implementations
  bool fuse = true;        ///< put fused operators in place of chains
  /// Let images go few at a time through the first operators (ImageLoop), and one at a time through those
  /// whose backward allows it (ImageGroup), where that pays. Of such a plan, forward in inference and
  /// backward cannot be observed.
  bool loop_over_images = true;
  /// Training: every backward has a GradientSink, so gradients that can be streamed are not stored.
  bool stream_gradients = false;
  /// The most that activations, their gradients and scratch memory may take together; and the most for the
  /// variables.
  size_t max_bytes = size_t{16} << 30;
};

/// One operator of the plan, in order of execution. It computes one value from others: value 0 is the graph's
/// input, value i + 1 the output of unit i.
struct Unit {
  std::string name;  ///< of its node; "conv1+pool1" when fused
  const OpDef* op = nullptr;
  std::unique_ptr<Operator> operation;
  std::vector<int> inputs;     ///< values
  std::vector<int> variables;  ///< indices into Plan::variables(), in the order of OperatorInfo::variables
  size_t packed_offset = 0;    ///< of its packed variables (inference, image loop), bytes
  /// Of its output in the arena, bytes; in inference within the image loop in the memory of a thread's
  /// images.
  size_t output_offset = 0;
  size_t saved_offset = 0;  ///< of its saved state in the arena (training)
  /// Of the gradient of its output in the arena (training), or, where an ImageGroup's units hand it on, in
  /// the memory of a thread's image.
  size_t gradient_offset = 0;
  size_t shared_offset = 0;  ///< of its backward's shared workspace, which the units of an ImageGroup divide
  /// Training: where to put the gradient with respect to an input that an earlier-run backward has written
  /// already, so that it can be added by the executor; kNone where it goes straight to the producer's.
  std::vector<size_t> partial_offsets;
  std::vector<uint8_t> adds_gradient;      ///< as BackwardArgs::adds: an earlier-run backward has written it
  std::vector<bool> wants_input_gradient;  ///< false where nothing trainable lies upstream

  static constexpr size_t kNone = ~size_t{0};
};

struct PlannedVariable {
  std::string name;  ///< "conv1/kernel"
  Shape shape;
  Initializer initializer;
  bool trainable = true;
  bool decay = false;
  std::optional<double> moving_average;  ///< as VariableSpec's
  bool streamed = false;                 ///< its gradient goes to a GradientSink and is not stored

  /// Whether backward writes something for it: a gradient, or the statistic that it follows.
  [[nodiscard]] bool has_gradient() const { return trainable || moving_average.has_value(); }
};

/// What `inspect` says of a node; independent of fusion.
struct NodeSummary {
  std::string name;
  std::string op;
  Shape output;  ///< [1, ...]
  int64_t parameters = 0;
  int64_t flops_per_row = 0;  ///< forward, a multiply-add counts 2
};

/// A graph made ready to run for one input shape: every attribute parsed, every shape inferred and checked,
/// operators fused, every buffer placed in one arena. All validation happens here. Immutable, shared by
/// executors. Keeps pointers into the registry, which must outlive it.
class Plan {
 public:
  /// `input_row` is the shape of one row, [H, W, C]. Errors name the node. kLimit when more than
  /// options.max_bytes would be needed.
  static Result<Plan> make(const Graph& graph, const Registry& registry, const Shape& input_row,
                           const PlanOptions& options);

  [[nodiscard]] const PlanOptions& options() const { return options_; }
  [[nodiscard]] const std::vector<Unit>& units() const { return units_; }
  [[nodiscard]] const std::vector<PlannedVariable>& variables() const { return variables_; }
  [[nodiscard]] const std::vector<NodeSummary>& nodes() const { return nodes_; }
  [[nodiscard]] const Shape& input_shape() const { return input_shape_; }  ///< [batch, H, W, C]
  [[nodiscard]] Shape output_shape() const;                                ///< [batch, ...]
  [[nodiscard]] const ImageLoop& image_loop() const { return loop_; }
  [[nodiscard]] const std::vector<ImageGroup>& image_groups() const { return groups_; }
  [[nodiscard]] size_t arena_bytes() const { return arena_bytes_; }
  /// What each thread needs besides for its images in the image loop or an image group.
  [[nodiscard]] size_t loop_arena_bytes() const { return loop_arena_bytes_; }
  [[nodiscard]] size_t loop_shared_workspace_bytes() const { return loop_shared_bytes_; }
  /// Whether a unit's output is read within the image loop alone, and needed by nobody afterwards.
  [[nodiscard]] bool is_between_loop_units(size_t unit) const;
  [[nodiscard]] size_t packed_bytes() const { return packed_bytes_; }
  [[nodiscard]] size_t shared_workspace_bytes() const { return shared_bytes_; }
  [[nodiscard]] size_t thread_workspace_bytes() const { return per_thread_bytes_; }

  /// A store with every variable at its initial value for `seed`.
  [[nodiscard]] VariableStore initial_variables(uint64_t seed) const;
  /// A unit's variables out of a store that check_variables has passed.
  [[nodiscard]] std::vector<TensorView<const float>> variables_of(const Unit& unit,
                                                                  const VariableStore& store) const;
  /// Checks that `store` has every variable with its shape; otherwise kBadData listing the first mismatches.
  [[nodiscard]] Status check_variables(const VariableStore& store) const;

 private:
  Status add_nodes(const Graph& graph, const Registry& registry);
  Status place_buffers();
  [[nodiscard]] bool is_view(size_t unit) const;
  /// Of each value, the one where its gradient lies: engine/gradient_places.h.
  [[nodiscard]] std::vector<int> share_gradients() const;

  PlanOptions options_;
  Shape input_shape_;
  std::vector<Unit> units_;
  std::vector<PlannedVariable> variables_;
  std::vector<NodeSummary> nodes_;
  std::vector<size_t> unit_of_node_;
  ImageLoop loop_;
  std::vector<ImageGroup> groups_;
  size_t arena_bytes_ = 0;
  size_t loop_arena_bytes_ = 0;
  size_t loop_shared_bytes_ = 0;
  size_t packed_bytes_ = 0;
  size_t shared_bytes_ = 0;
  size_t per_thread_bytes_ = 0;
};

}  // namespace nacre
