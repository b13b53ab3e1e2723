#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

/// A graph or a function's body, with its names looked up.
struct GraphScope {
  const tensorflow::FunctionDef* function = nullptr;  ///< null: the graph itself
  std::unordered_map<std::string_view, const tensorflow::NodeDef*> nodes;
  std::unordered_map<std::string_view, int> arguments;
};

/// What a call is: the function's outputs are the node's, one image's turn of a loop, or of MapDefun.
enum class CallKind : uint8_t { kCall, kLoopBody, kMapBody };

/// One call of a function; frame 0 is the graph itself.
struct Frame {
  const GraphScope* scope = nullptr;
  int parent = -1;
  int depth = 0;
  CallKind kind = CallKind::kCall;
  const tensorflow::NodeDef* call = nullptr;  ///< in the parent
  int counter = -1;                           ///< kLoopBody: the argument that counts the images
};

/// An output of a node in a frame; or, when `node` is null, an argument of the frame's function.
struct TensorPlace {
  int frame = 0;
  const tensorflow::NodeDef* node = nullptr;
  int port = 0;
  int argument = -1;
};

/// Finds what inputs mean in a graph with functions, across calls. No recursion; every step counts towards a
/// limit. Errors are as FlatGraph::make's.
class GraphFrames {
 public:
  explicit GraphFrames(const tensorflow::MetaGraphDef& meta) : meta_(meta) {}
  Status prepare();

  /// The tensor that `input` (a NodeDef's, or a signature's "node:0") names in `frame`: as it is written.
  Result<TensorPlace> look_up(int frame, const std::string& input);
  /// The same, followed through what passes its input on, arguments and calls, to a node that computes
  /// something. Stops at `stop`, and at arguments of kMapBody. An argument of a loop's body is what the loop
  /// starts with; kUnsupported for one that changes from turn to turn.
  Result<TensorPlace> resolve(int frame, const std::string& input);
  /// The same, but stops at all arguments of a loop's body.
  Result<TensorPlace> resolve_in_turn(int frame, const std::string& input);

  /// The frame of a function called by `node`; the same call gives the same frame.
  Result<int> enter(int frame, const tensorflow::NodeDef& node, const std::string& function, CallKind kind);
  [[nodiscard]] Frame& frame(int index) { return frames_[static_cast<size_t>(index)]; }
  /// What the function of `frame` returns as output `port`, as an input in it.
  Result<std::string> returned(int frame, int port) const;

  const tensorflow::NodeDef* stop = nullptr;  ///< a node of the graph itself: the signature's input

 private:
  Result<TensorPlace> follow(TensorPlace place, bool leave_loops);
  Status check_invariant(const TensorPlace& argument);
  Result<const GraphScope*> scope_of(const std::string& function);
  /// The input that passes through output `port` of the node; empty when it computes something.
  [[nodiscard]] const std::string* passed_on(const tensorflow::NodeDef& node, int port) const;
  [[nodiscard]] const std::string* called_function(const tensorflow::NodeDef& node) const;

  const tensorflow::MetaGraphDef& meta_;
  std::unordered_map<std::string_view, const tensorflow::FunctionDef*> functions_;
  std::map<std::string, GraphScope, std::less<>> scopes_;
  GraphScope main_;
  std::deque<Frame> frames_;
  std::map<std::pair<int, const tensorflow::NodeDef*>, int> entered_;
  size_t steps_ = 0;
};

/// The n-th input of a node that carries data; null when there is none.
const std::string* data_input(const tensorflow::NodeDef& node, int index);
/// How many there are.
int data_inputs(const tensorflow::NodeDef& node);
/// `node "NAME" (OP)`.
std::string describe(const tensorflow::NodeDef& node);

}  // namespace nacre
