#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph_sink.h"
#include "engine/status.h"
#include "layers/op_common.h"
#include "layers/window.h"

namespace nacre {

// What OpDef::to_tensorflow of several layers needs. Op names and attributes are TensorFlow's.

/// Adds a node on floats (attribute T) and returns its first output. It is called `scope/suffix`, or as the
/// scope itself when `suffix` is empty.
std::string add_node(const DescribeRequest& layer, GraphSink& sink, std::string_view op,
                     std::string_view suffix, std::vector<std::string> inputs, TfAttributes attributes = {});

/// Adds the constant `scope/suffix`: the vector `values`, of int32 as most of TensorFlow's ops want sizes.
/// kUnsupported when a value does not fit.
Result<std::string> add_sizes(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix,
                              const Shape& shape, std::span<const int64_t> values);
/// The same for a scalar: the number of an axis.
std::string add_axis(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix, int32_t axis);
/// The constant `scope/suffix` of `shape` with every element `value`.
std::string add_float(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix, float value,
                      const Shape& shape = {});

/// ConcatV2 of two or more tensors along `axis`.
std::string add_concat(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix,
                       std::vector<std::string> tensors, int32_t axis);

/// `sums` with the layer's second variable added, if it has a bias, and its activation.
std::string add_bias_and_activation(const DescribeRequest& layer, GraphSink& sink, const WeightAttrs& attrs,
                                    std::string sums);

/// The name of an op as a template's argument.
struct TfOpName {
  template <size_t N>
  consteval TfOpName(
      const char (&name)[N]) {  // NOLINT(google-explicit-constructor): reads as describe_as<"Relu">
    std::copy_n(name, N, text.begin());
  }
  std::array<char, 32> text{};
};

/// OpDef::to_tensorflow of a layer that is one op on its inputs, without attributes.
template <TfOpName op>
Result<std::string> describe_as(const DescribeRequest& layer, GraphSink& sink) {
  return add_node(layer, sink, op.text.data(), "", layer.inputs);
}

/// OpDef::to_tensorflow of a pooling layer that is `op`.
Result<std::string> describe_pool(const DescribeRequest& layer, GraphSink& sink, std::string_view op);

/// "SAME" or "VALID".
std::string tensorflow_name(Padding padding);
/// [1, height, width, 1]
std::vector<int64_t> over_image(Extent2 extent);

}  // namespace nacre
