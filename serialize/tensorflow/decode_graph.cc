#include "serialize/tensorflow/decode_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <vector>

namespace nacre {
namespace {

using tensorflow::DT_BOOL;
using tensorflow::DT_FLOAT;
using tensorflow::DT_INT32;
using tensorflow::DT_STRING;
using tensorflow::DT_UINT8;
using tensorflow::DT_VARIANT;

constexpr std::string_view kCondition = "nacre_decode_condition";
constexpr std::string_view kBody = "nacre_decode_body";

/// Images that a session may decode at a time, tf.map_fn's number.
constexpr int64_t kParallelIterations = 10;

// The two below are for GraphBuilder and FunctionBuilder, which name tensors each in its own way.

template <typename Builder>
std::string int_constant(Builder& graph, const std::string& name, const std::vector<int32_t>& values,
                         bool scalar = false) {
  tensorflow::NodeDef& node = graph.node("Const", name, {});
  const std::array<int64_t, 1> dims{static_cast<int64_t>(values.size())};
  set_constant(node, std::span(dims).first(scalar ? 0 : 1), std::span<const int32_t>(values));
  return Builder::output(node, "output");
}

/// vector[0]
std::string element_of(GraphBuilder& graph, const std::string& name, const std::string& vector,
                       tensorflow::DataType type) {
  const std::string begin = int_constant(graph, name + "/stack", {0});
  const std::string end = int_constant(graph, name + "/stack_1", {1});
  const std::string step = int_constant(graph, name + "/stack_2", {1});
  tensorflow::NodeDef& slice = graph.node("StridedSlice", name, {vector, begin, end, step});
  set_type(slice, "T", type);
  set_type(slice, "Index", DT_INT32);
  set_int(slice, "shrink_axis_mask", 1);
  return slice.name();
}

template <typename Builder>
std::string float_op(Builder& graph, std::string_view op, const std::string& name,
                     std::vector<std::string> inputs, std::string_view output) {
  tensorflow::NodeDef& node = graph.node(op, name, std::move(inputs));
  set_type(node, "T", DT_FLOAT);
  return Builder::output(node, output);
}

/// `jpeg`, a scalar, decoded and scaled: [h, w, channels].
template <typename Builder>
std::string add_pixels(Builder& graph, const InputContract& contract, const std::string& dct_method,
                       const std::string& jpeg, const std::string& scope) {
  tensorflow::NodeDef& decode = graph.node("DecodeJpeg", "DecodeJpeg", {jpeg});
  set_int(decode, "channels", contract.channels);
  if (!dct_method.empty()) set_text(decode, "dct_method", dct_method);
  const std::string levels = Builder::output(decode, "image");
  tensorflow::NodeDef& cast = graph.node("Cast", scope + "/Cast", {levels});
  set_type(cast, "SrcT", DT_UINT8);
  set_type(cast, "DstT", DT_FLOAT);
  const std::string floats = Builder::output(cast, "y");
  tensorflow::NodeDef& scale = graph.node("Const", scope + "/y", {});
  set_constant(scale, {}, std::span(&contract.scale, 1));
  const std::string factor = Builder::output(scale, "output");
  return float_op(graph, "Mul", scope, {floats, factor}, "z");
}

/// `image` [h, w, channels] as a batch [1, h, w, channels].
template <typename Builder>
std::string add_batch_axis(Builder& graph, const std::string& image) {
  const std::string axis = int_constant(graph, "ExpandDims/dim", {0}, true);
  return float_op(graph, "ExpandDims", "ExpandDims", {image, axis}, "output");
}

template <typename Builder>
std::string add_resize(Builder& graph, const InputContract& contract, const std::string& batch) {
  const std::string size = int_constant(
      graph, "resize/size", {static_cast<int32_t>(contract.height), static_cast<int32_t>(contract.width)});
  tensorflow::NodeDef& resize = graph.node("ResizeBilinear", "resize", {batch, size});
  set_type(resize, "T", DT_FLOAT);
  set_flag(resize, "half_pixel_centers");
  return Builder::output(resize, "resized_images");
}

/// The strings in a vector of them.
std::string count_of(GraphBuilder& graph, const std::string& name, const std::string& strings) {
  tensorflow::NodeDef& shape = graph.node("Shape", name + "/shape", {strings});
  set_type(shape, "T", DT_STRING);
  return element_of(graph, name, shape.name(), DT_INT32);
}

std::string dct_method(const InputContract& contract) {
  return contract.jpeg_dct == JpegDct::kAccurate ? "INTEGER_ACCURATE" : "INTEGER_FAST";
}

std::vector<int32_t> image_dims(const InputContract& contract) {
  return {static_cast<int32_t>(contract.height), static_cast<int32_t>(contract.width),
          static_cast<int32_t>(contract.channels)};
}

const std::vector<tensorflow::DataType>& loop_types() {
  static const std::vector<tensorflow::DataType> types{DT_INT32, DT_INT32, DT_VARIANT, DT_STRING};
  return types;
}

// What goes round: the next image's number, how many there are, the decoded ones, the encoded ones.
constexpr std::array<FunctionBuilder::Argument, 4> kLoopInputs{
    {{"i", DT_INT32}, {"count", DT_INT32}, {"decoded", DT_VARIANT}, {"images", DT_STRING}}};

void add_condition(tensorflow::FunctionDef& definition) {
  FunctionBuilder function(definition, std::string(kCondition), kLoopInputs);
  tensorflow::NodeDef& less = function.node("Less", "less", {"i", "count"});
  set_type(less, "T", DT_INT32);
  function.returns({"go_on", DT_BOOL}, FunctionBuilder::output(less, "z"));
}

void add_body(tensorflow::FunctionDef& definition, const InputContract& contract) {
  FunctionBuilder function(definition, std::string(kBody), kLoopInputs);
  const std::string axis = int_constant(function, "axis", {0}, true);
  tensorflow::NodeDef& gather = function.node("GatherV2", "jpeg", {"images", "i", axis});
  set_type(gather, "Tparams", DT_STRING);
  set_type(gather, "Tindices", DT_INT32);
  set_type(gather, "Taxis", DT_INT32);
  std::string image = add_pixels(function, contract, dct_method(contract),
                                 FunctionBuilder::output(gather, "output"), "convert_image");
  if (contract.resize == ResizePolicy::kBilinear) {
    const std::string resized = add_resize(function, contract, add_batch_axis(function, image));
    tensorflow::NodeDef& squeeze = function.node("Squeeze", "resized_image", {resized});
    set_type(squeeze, "T", DT_FLOAT);
    constexpr std::array<int64_t, 1> kBatchAxis{0};
    set_ints(squeeze, "squeeze_dims", kBatchAxis);
    image = FunctionBuilder::output(squeeze, "output");
  }
  // The list knows the shape of its items, so that an image of another size is an error here.
  tensorflow::NodeDef& set = function.node("TensorListSetItem", "set", {"decoded", "i", image});
  set_type(set, "element_dtype", DT_FLOAT);
  const std::string one = int_constant(function, "one", {1}, true);
  tensorflow::NodeDef& next = function.node("AddV2", "next", {"i", one});
  set_type(next, "T", DT_INT32);
  const auto same = [&](const std::string& name, const std::string& argument, tensorflow::DataType type) {
    tensorflow::NodeDef& identity = function.node("Identity", name, {argument});
    set_type(identity, "T", type);
    return FunctionBuilder::output(identity, "output");
  };
  const std::string same_count = same("same_count", "count", DT_INT32);
  const std::string same_images = same("same_images", "images", DT_STRING);
  function.returns({"next_i", DT_INT32}, FunctionBuilder::output(next, "z"));
  function.returns({"count_out", DT_INT32}, same_count);
  function.returns({"decoded_out", DT_VARIANT}, FunctionBuilder::output(set, "output_handle"));
  function.returns({"images_out", DT_STRING}, same_images);
}

}  // namespace

Status check_decodable(const InputContract& contract) {
  if (contract.exif == ExifPolicy::kApply) {
    return {StatusCode::kUnsupported,
            "turns images by their EXIF orientation, and TensorFlow has no op that does"};
  }
  if (std::max(contract.height, contract.width) > std::numeric_limits<int32_t>::max()) {
    return {StatusCode::kUnsupported, fmt::format("takes images of {} x {}, beyond TensorFlow's 32-bit sizes",
                                                  contract.height, contract.width)};
  }
  if (contract.channels != 1 && contract.channels != 3) {
    return {StatusCode::kUnsupported,
            fmt::format("takes images of {} channels; TensorFlow decodes 1 or 3", contract.channels)};
  }
  return {};
}

void add_decode_functions(tensorflow::GraphDef& graph, const InputContract& contract) {
  add_condition(*graph.mutable_library()->add_function());
  add_body(*graph.mutable_library()->add_function(), contract);
}

std::string decode_batch(GraphBuilder& graph, const InputContract& contract, const std::string& prefix,
                         const std::string& images) {
  const auto name = [&](std::string_view suffix) { return prefix + "decode/" + std::string(suffix); };
  const std::string count = count_of(graph, prefix + "decode/count", images);
  const std::string item = int_constant(graph, name("item_shape"), image_dims(contract));
  const std::string first = int_constant(graph, name("first"), {0}, true);
  tensorflow::NodeDef& reserve = graph.node("TensorListReserve", name("reserve"), {item, count});
  set_type(reserve, "element_dtype", DT_FLOAT);
  set_type(reserve, "shape_type", DT_INT32);
  const std::string list = reserve.name();
  tensorflow::NodeDef& loop = graph.node("StatelessWhile", name("loop"), {first, count, list, images});
  set_types(loop, "T", loop_types());
  set_function(loop, "cond", std::string(kCondition));
  set_function(loop, "body", std::string(kBody));
  set_shapes(loop, "output_shapes", {{}, {}, {}, {kAnyExtent}});
  set_int(loop, "parallel_iterations", kParallelIterations);
  const std::string decoded = tensor_of(loop.name(), 2);
  tensorflow::NodeDef& stack = graph.node("TensorListStack", prefix + "decoded", {decoded, item});
  set_type(stack, "element_dtype", DT_FLOAT);
  return stack.name();
}

std::string decode_first(GraphBuilder& graph, const InputContract& contract, const std::string& images) {
  const std::string first = element_of(graph, "strided_slice", images, DT_STRING);
  const std::string pixels = add_pixels(graph, contract, "", first, "convert_image");
  if (contract.resize == ResizePolicy::kBilinear) {
    return add_resize(graph, contract, add_batch_axis(graph, pixels));
  }
  tensorflow::NodeDef& exact = graph.node("EnsureShape", "exact_size", {pixels});
  set_type(exact, "T", DT_FLOAT);
  set_shape(exact, "shape", std::array{contract.height, contract.width, contract.channels});
  return add_batch_axis(graph, exact.name());
}

}  // namespace nacre
