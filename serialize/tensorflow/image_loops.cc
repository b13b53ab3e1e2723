#include "serialize/tensorflow/image_loops.h"

#include <cstring>

#include "serialize/tensorflow/flat_graph.h"

namespace nacre {
namespace {

using tensorflow::NodeDef;
using Found = Result<std::optional<ImageLoopNode>>;

Status other_loop(const NodeDef& node) {
  return {StatusCode::kUnsupported, describe(node) + ": expected a loop that does the same to every image"};
}

Result<std::string> input_of(const NodeDef& node, int index) {
  const std::string* input = data_input(node, index);
  if (input != nullptr) return *input;
  return Status(StatusCode::kCorrupt, describe(node) + ": has too few inputs");
}

/// True for a Const of that integer.
bool is_constant(const TensorPlace& place, int32_t value) {
  if (place.node == nullptr || place.node->op() != "Const") return false;
  const auto found = place.node->attr().find("value");
  if (found == place.node->attr().end()) return false;
  const tensorflow::TensorProto& tensor = found->second.tensor();
  if (tensor.dtype() != tensorflow::DT_INT32 || tensor.tensor_shape().dim_size() != 0) return false;
  if (!tensor.tensor_content().empty()) {
    int32_t content = 0;
    if (tensor.tensor_content().size() != sizeof content) return false;
    std::memcpy(&content, tensor.tensor_content().data(), sizeof content);
    return content == value;
  }
  return (tensor.int_val_size() == 0 ? 0 : tensor.int_val(0)) == value;
}

bool same(const TensorPlace& a, const TensorPlace& b) {
  return a.frame == b.frame && a.node == b.node && a.port == b.port && a.argument == b.argument;
}

/// True when `next` is `now` + 1.
Result<bool> is_increment(GraphFrames& frames, const TensorPlace& next, const TensorPlace& now) {
  if (next.node == nullptr || (next.node->op() != "AddV2" && next.node->op() != "Add")) return false;
  NACRE_ASSIGN_OR_RETURN(const std::string a, input_of(*next.node, 0));
  NACRE_ASSIGN_OR_RETURN(const std::string b, input_of(*next.node, 1));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace left, frames.resolve_in_turn(next.frame, a));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace right, frames.resolve_in_turn(next.frame, b));
  return same(left, now) && is_constant(right, 1);
}

// While and StatelessWhile.

bool is_argument(const TensorPlace& place, int frame, int argument) {
  return place.node == nullptr && place.frame == frame && place.argument == argument;
}

/// True when argument `argument` of the loop's body starts at 0 and grows by 1.
Result<bool> is_counter(GraphFrames& frames, int body, int argument) {
  const Frame& loop = frames.frame(body);
  NACRE_ASSIGN_OR_RETURN(const std::string first, input_of(*loop.call, argument));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace start, frames.resolve(loop.parent, first));
  NACRE_ASSIGN_OR_RETURN(const std::string result, frames.returned(body, argument));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace next, frames.resolve_in_turn(body, result));
  TensorPlace now;
  now.frame = body;
  now.argument = argument;
  NACRE_ASSIGN_OR_RETURN(const bool grows, is_increment(frames, next, now));
  return grows && is_constant(start, 0);
}

Found list_of_results(GraphFrames& frames, int frame, const NodeDef& stack) {
  NACRE_ASSIGN_OR_RETURN(const std::string input, input_of(stack, 0));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace loop, frames.resolve(frame, input));
  if (loop.node == nullptr || (loop.node->op() != "StatelessWhile" && loop.node->op() != "While")) {
    return std::optional<ImageLoopNode>();
  }
  const auto body = loop.node->attr().find("body");
  if (body == loop.node->attr().end()) return other_loop(*loop.node);
  NACRE_ASSIGN_OR_RETURN(
      const int turn, frames.enter(loop.frame, *loop.node, body->second.func().name(), CallKind::kLoopBody));
  NACRE_ASSIGN_OR_RETURN(const std::string result, frames.returned(turn, loop.port));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace set, frames.resolve_in_turn(turn, result));
  if (set.node == nullptr || set.node->op() != "TensorListSetItem") return other_loop(*loop.node);
  NACRE_ASSIGN_OR_RETURN(const std::string list_input, input_of(*set.node, 0));
  NACRE_ASSIGN_OR_RETURN(const std::string index_input, input_of(*set.node, 1));
  NACRE_ASSIGN_OR_RETURN(const std::string item, input_of(*set.node, 2));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace list, frames.resolve_in_turn(set.frame, list_input));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace index, frames.resolve_in_turn(set.frame, index_input));
  if (!is_argument(list, turn, loop.port) || index.node != nullptr || index.frame != turn) {
    return other_loop(*loop.node);
  }
  NACRE_ASSIGN_OR_RETURN(const bool counts, is_counter(frames, turn, index.argument));
  if (!counts) return other_loop(*loop.node);
  frames.frame(turn).counter = index.argument;
  return std::optional(ImageLoopNode{kMapOp, set.frame, item});
}

/// GatherV2(batch, counter) and TensorListGetItem(TensorListFromTensor(batch), counter).
Found element_of_turn(GraphFrames& frames, int frame, const NodeDef& read) {
  NACRE_ASSIGN_OR_RETURN(const std::string batch, input_of(read, 0));
  NACRE_ASSIGN_OR_RETURN(const std::string index_input, input_of(read, 1));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace index, frames.resolve_in_turn(frame, index_input));
  if (index.node != nullptr) return std::optional<ImageLoopNode>();
  const Frame& loop = frames.frame(index.frame);
  if (loop.kind != CallKind::kLoopBody || loop.counter != index.argument) return other_loop(read);
  if (read.op() == "GatherV2") return std::optional(ImageLoopNode{kElementOp, frame, batch});
  NACRE_ASSIGN_OR_RETURN(const TensorPlace list, frames.resolve(frame, batch));
  if (list.node == nullptr || list.node->op() != "TensorListFromTensor") return other_loop(read);
  NACRE_ASSIGN_OR_RETURN(const std::string whole, input_of(*list.node, 0));
  return std::optional(ImageLoopNode{kElementOp, list.frame, whole});
}

// TF1's frames. A loop's variable is Merge(Enter(start), NextIteration(next)); Switch:1 of it is its value in
// a turn, Exit(Switch:0) the last one.

/// The node that reaches `place` through one input of ops `names`, in this order, from the outside in.
Result<TensorPlace> behind(GraphFrames& frames, TensorPlace place,
                           std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (place.node == nullptr || place.node->op() != name) {
      place.node = nullptr;
      return place;
    }
    NACRE_ASSIGN_OR_RETURN(const std::string input, input_of(*place.node, 0));
    NACRE_ASSIGN_OR_RETURN(place, frames.resolve(place.frame, input));
  }
  return place;
}

/// What the variable is in the next turn.
Result<TensorPlace> next_turn(GraphFrames& frames, const TensorPlace& merge) {
  NACRE_ASSIGN_OR_RETURN(const std::string input, input_of(*merge.node, 1));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace next, frames.resolve(merge.frame, input));
  return behind(frames, next, {"NextIteration"});
}

/// The Merge of the variable that `input` is in a turn; its node is null when `input` is none.
Result<TensorPlace> variable_of(GraphFrames& frames, int frame, const std::string& input) {
  NACRE_ASSIGN_OR_RETURN(TensorPlace place, frames.resolve(frame, input));
  if (place.port != 1) place.node = nullptr;
  NACRE_ASSIGN_OR_RETURN(place, behind(frames, place, {"Switch"}));
  if (place.node != nullptr && place.node->op() != "Merge") place.node = nullptr;
  return place;
}

Result<bool> is_counting_variable(GraphFrames& frames, const TensorPlace& merge) {
  if (merge.node == nullptr) return false;
  NACRE_ASSIGN_OR_RETURN(const std::string first, input_of(*merge.node, 0));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace start, frames.resolve(merge.frame, first));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace next, next_turn(frames, merge));
  if (next.node == nullptr || (next.node->op() != "AddV2" && next.node->op() != "Add")) return false;
  NACRE_ASSIGN_OR_RETURN(const std::string a, input_of(*next.node, 0));
  NACRE_ASSIGN_OR_RETURN(const std::string b, input_of(*next.node, 1));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace before, variable_of(frames, next.frame, a));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace step, frames.resolve(next.frame, b));
  return before.node == merge.node && is_constant(step, 1) && is_constant(start, 0);
}

Found array_of_results(GraphFrames& frames, int frame, const NodeDef& gather) {
  NACRE_ASSIGN_OR_RETURN(const std::string flow_input, input_of(gather, 2));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace flow, frames.resolve(frame, flow_input));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace merge, behind(frames, flow, {"Exit", "Switch"}));
  if (merge.node == nullptr || merge.node->op() != "Merge") return other_loop(gather);
  NACRE_ASSIGN_OR_RETURN(const TensorPlace write, next_turn(frames, merge));
  if (write.node == nullptr || write.node->op() != "TensorArrayWriteV3") return other_loop(gather);
  NACRE_ASSIGN_OR_RETURN(const std::string index, input_of(*write.node, 1));
  NACRE_ASSIGN_OR_RETURN(const std::string item, input_of(*write.node, 2));
  NACRE_ASSIGN_OR_RETURN(const std::string flow_before, input_of(*write.node, 3));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace counter, variable_of(frames, write.frame, index));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace before, variable_of(frames, write.frame, flow_before));
  NACRE_ASSIGN_OR_RETURN(const bool counts, is_counting_variable(frames, counter));
  if (!counts || before.node != merge.node) return other_loop(gather);
  return std::optional(ImageLoopNode{kMapOp, write.frame, item});
}

Found element_of_array(GraphFrames& frames, int frame, const NodeDef& read) {
  NACRE_ASSIGN_OR_RETURN(const std::string index, input_of(read, 1));
  NACRE_ASSIGN_OR_RETURN(const std::string flow, input_of(read, 2));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace counter, variable_of(frames, frame, index));
  NACRE_ASSIGN_OR_RETURN(const bool counts, is_counting_variable(frames, counter));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace scatter, frames.resolve(frame, flow));
  if (!counts || scatter.node == nullptr || scatter.node->op() != "TensorArrayScatterV3") {
    return other_loop(read);
  }
  NACRE_ASSIGN_OR_RETURN(const std::string whole, input_of(*scatter.node, 2));
  return std::optional(ImageLoopNode{kElementOp, scatter.frame, whole});
}

Found map_of_function(GraphFrames& frames, int frame, const NodeDef& node) {
  const auto f = node.attr().find("f");
  if (f == node.attr().end()) {
    return Status(StatusCode::kCorrupt, describe(node) + ": expected an attribute f");
  }
  NACRE_ASSIGN_OR_RETURN(const int turn,
                         frames.enter(frame, node, f->second.func().name(), CallKind::kMapBody));
  NACRE_ASSIGN_OR_RETURN(const std::string result, frames.returned(turn, 0));
  return std::optional(ImageLoopNode{kMapOp, turn, result});
}

}  // namespace

Result<std::optional<ImageLoopNode>> find_image_loop(GraphFrames& frames, int frame, const NodeDef& node) {
  const std::string& op = node.op();
  if (op == "TensorListStack") return list_of_results(frames, frame, node);
  if (op == "GatherV2" || op == "TensorListGetItem") return element_of_turn(frames, frame, node);
  if (op == "TensorArrayGatherV3") return array_of_results(frames, frame, node);
  if (op == "TensorArrayReadV3") return element_of_array(frames, frame, node);
  if (op == "MapDefun") return map_of_function(frames, frame, node);
  return std::optional<ImageLoopNode>();
}

}  // namespace nacre
