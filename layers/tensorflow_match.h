#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "engine/node_view.h"
#include "engine/status.h"
#include "layers/op_common.h"
#include "layers/tensorflow_ops.h"
#include "layers/window.h"

namespace nacre {

// What OpDef::from_tensorflow of several layers needs. Op names and attributes are TensorFlow's.

using Recognized = Result<std::optional<RecognizedLayer>>;

/// An error `node "NAME" (OP): reason`.
Status node_error(const NodeView& node, StatusCode code, const std::string& reason);

/// A layer that reads input `i` of `node`, the first that it covers.
RecognizedLayer begin_layer(const NodeView& node, size_t i);
/// Goes on to `node`, whose output the layer's is then.
void extend_layer(RecognizedLayer& layer, const NodeView& node);

/// Attributes, or the default. kCorrupt when one is of another type.
Result<int64_t> int_attribute(const NodeView& node, std::string_view name, int64_t otherwise);
Result<bool> bool_attribute(const NodeView& node, std::string_view name, bool otherwise);
Result<std::string> text_attribute(const NodeView& node, std::string_view name, std::string_view otherwise);
/// A float of TensorFlow's as the decimal number that it was written from: 0.001, not 0.0010000000474974513.
Result<double> decimal_attribute(const NodeView& node, std::string_view name, float otherwise);
double as_decimal(float value);

/// kUnsupported unless data_format is NHWC.
Status check_layout(const NodeView& node);
/// [1, height, width, 1] of attribute `name`; 1 x 1 when it is not there. kUnsupported when it strides over
/// images or channels, kCorrupt for what is no such list or not positive.
Result<Extent2> image_attribute(const NodeView& node, std::string_view name);
/// "SAME" or "VALID"; kUnsupported for explicit padding.
Result<Padding> padding_attribute(const NodeView& node);

/// The value of input `i` when it is a tensor of floats; else null.
const FoldedTensor* float_input(const NodeView& node, size_t i);
/// Its only element, when it has one and belongs to no variable.
std::optional<float> scalar_input(const NodeView& node, size_t i);
/// Which of two inputs is an activation when the other is a tensor of floats; nothing for other nodes.
std::optional<size_t> activation_of_two(const NodeView& node);
/// [channels] of a value that is the same for all positions: one element, or the last extent is the only one
/// above 1 and is `channels`. Nothing for others.
std::optional<FoldedTensor> per_channel(const FoldedTensor& value, int64_t channels);
/// A tensor of that shape with elements `values`, or all `value`.
FoldedTensor make_folded(const Shape& shape, std::vector<float> values);
FoldedTensor filled(const Shape& shape, float value);
/// True when every element is `value` and they belong to no variable.
bool is_filled(const FoldedTensor& tensor, float value);

/// Behind the layer's sums, `outputs` of them: takes an addition of a bias (BiasAdd, Add, AddV2) and a Relu,
/// if there are, and sets the attributes use_bias and activation.
Status take_bias_and_activation(RecognizedLayer& layer, int64_t outputs);

/// OpDef::from_tensorflow of a layer without attributes that is the one op.
template <TfOpName op>
Recognized recognize_as(const NodeView& node) {
  if (node.op() != op.text.data() || node.inputs() < 1 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  return std::optional(begin_layer(node, 0));
}

/// OpDef::from_tensorflow of a pooling layer that is `op`.
Recognized recognize_pool(const NodeView& node, std::string_view op);

}  // namespace nacre
