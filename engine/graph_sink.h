#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/attributes.h"
#include "engine/shape.h"

namespace nacre {

/// Element types of TensorFlow's that layers name, with the numbers of its files.
enum class TfType : uint8_t { kFloat = 1, kInt32 = 3 };

/// The value of a node's attribute in TensorFlow: bool, int, float, string, type or list(int).
using TfValue = std::variant<bool, int64_t, float, std::string, TfType, std::vector<int64_t>>;
using TfAttributes = std::vector<std::pair<std::string_view, TfValue>>;

/// Takes the nodes of a graph of TensorFlow's: its ops, by name. This is how a layer describes itself without
/// knowing a file format. A tensor is named as nodes' inputs name it: "node" for a node's first output,
/// "node:1" for its second (tensor_of).
class GraphSink {
 public:
  virtual ~GraphSink() = default;

  /// Adds a node and returns the tensor that its first output is. The name is a wish: where another node has
  /// it, a number is put behind it. Attributes with a default in TensorFlow may be left out.
  virtual std::string add(std::string_view op, const std::string& name, std::vector<std::string> inputs,
                          const TfAttributes& attributes) = 0;

  /// The same for a constant of `shape` with row-major `values`; one value stands for all elements.
  virtual std::string constant(const std::string& name, const Shape& shape,
                               std::span<const float> values) = 0;
  virtual std::string constant(const std::string& name, const Shape& shape,
                               std::span<const int32_t> values) = 0;
};

/// Output `index` of the node whose first output is `node`.
inline std::string tensor_of(const std::string& node, size_t index) {
  return index == 0 ? node : node + ":" + std::to_string(index);
}

/// What a layer is given when it describes itself: it has been created with these attributes and shapes
/// before, so they are valid.
struct DescribeRequest {
  /// Names start with it: the layer's name. A node may have that name itself, or be "scope/something"; but
  /// variables are called "scope/kernel" and the like.
  std::string scope;
  const AttrMap& attributes;
  std::vector<std::string> inputs;     ///< tensors
  std::span<const Shape> shapes;       ///< of the inputs; their first extent, the batch, is not settled
  std::vector<std::string> variables;  ///< tensors, in the order of OperatorInfo::variables
};

}  // namespace nacre
