#include "serialize/tensorflow/image_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nacre {
namespace {

Status at(const FlatNode& node, const std::string& reason, StatusCode code = StatusCode::kUnsupported) {
  return {code, node.described() + ": " + reason};
}

template <typename T>
T attribute_or(const FlatNode& node, std::string_view name, T otherwise) {
  const std::optional<AttrValue> value = node.attribute(name);
  if (!value.has_value()) return otherwise;
  const T* found = std::get_if<T>(&*value);
  return found == nullptr ? otherwise : *found;
}

/// The only node that reads this one, as far as values go; null when there are others.
FlatNode* only_reader(const FlatNode& node) {
  return const_cast<FlatNode*>(static_cast<const FlatNode*>(node.only_reader()));
}

/// A constant of one float, which no variable has.
std::optional<float> scalar(const FlatNode& node, size_t i) {
  if (i >= node.inputs() || node.is_activation(i)) return std::nullopt;
  const FoldedTensor* value = node.constant(i);
  if (value == nullptr || value->values().size() != 1 || !value->variable.empty()) return std::nullopt;
  return value->values().front();
}

/// A constant of integers; empty when it is none.
std::vector<int64_t> integers(const FlatNode& node, size_t i) {
  const FoldedTensor* value = i < node.inputs() && !node.is_activation(i) ? node.constant(i) : nullptr;
  return value == nullptr ? std::vector<int64_t>() : value->ints;
}

// What makes an input smaller than this takes levels of 0 to 255.
constexpr double kSmallestOfUnits = 0.1;

class Reader {
 public:
  explicit Reader(const FlatGraph& graph) : graph_(graph) {}

  Result<ImageInput> run() {
    input_.head = graph_.input;
    const tensorflow::TensorInfo& info = graph_.signature->inputs().begin()->second;
    if (info.dtype() == tensorflow::DT_STRING) {
      input_.decodes = true;
      input_.contract.resize = ResizePolicy::kExact;
      NACRE_RETURN_IF_ERROR(decode());
    } else {
      NACRE_RETURN_IF_ERROR(numbers(info));
    }
    while (true) {
      FlatNode* next = input_.head->is_output() ? nullptr : only_reader(*input_.head);
      if (next == nullptr) break;
      NACRE_ASSIGN_OR_RETURN(const bool taken, take(*next));
      if (!taken) break;
      input_.head = next;
    }
    NACRE_RETURN_IF_ERROR(find_batch());
    settle_scale();
    return std::move(input_);
  }

 private:
  /// An input [N, H, W, C] of numbers.
  Status numbers(const tensorflow::TensorInfo& info) {
    if (info.dtype() != tensorflow::DT_FLOAT && info.dtype() != tensorflow::DT_UINT8) {
      return at(*graph_.input, "expected encoded images, floats or 8-bit levels");
    }
    levels_ = info.dtype() == tensorflow::DT_UINT8;
    outer_ = 1;
    const tensorflow::TensorShapeProto& shape = info.tensor_shape();
    if (shape.unknown_rank() || shape.dim_size() != 4) {
      return at(*graph_.input, "expected an input [N, height, width, channels]");
    }
    const auto extent = [&](int i) { return std::max<int64_t>(shape.dim(i).size(), 0); };
    input_.contract.height = extent(1);
    input_.contract.width = extent(2);
    input_.contract.channels = extent(3);
    if (input_.contract.channels != 1 && input_.contract.channels != 3) {
      return at(*graph_.input,
                fmt::format("expected images of 1 or 3 channels, found {}", shape.dim(3).size()));
    }
    return {};
  }

  /// From the strings to the decoded image of one of them.
  Status decode() {
    FlatNode* node = graph_.input;
    for (node = only_reader(*node); node != nullptr; node = only_reader(*node)) {
      const std::string_view op = node->op();
      if (op == "DecodeJpeg" || op == "DecodePng" || op == "DecodeImage") return decoder(*node);
      const bool first = op == "StridedSlice" && integers(*node, 1) == std::vector<int64_t>{0} &&
                         attribute_or<int64_t>(*node, "shrink_axis_mask", 0) == 1;
      if (!first && op != kElementOp && op != "Squeeze" && op != "Reshape") {
        return at(*node, "is none of the ways from encoded images to a network that nacre knows");
      }
    }
    return at(*graph_.input, "expected one decoder of images behind it");
  }

  Status decoder(FlatNode& node) {
    input_.head = &node;
    InputContract& contract = input_.contract;
    contract.channels = attribute_or<int64_t>(node, "channels", 0);
    if (contract.channels != 1 && contract.channels != 3) {
      return at(node, fmt::format("expected 1 or 3 channels, found {}", contract.channels));
    }
    const auto method = attribute_or<std::string>(node, "dct_method", "");
    if (method == "INTEGER_ACCURATE") {
      contract.jpeg_dct = JpegDct::kAccurate;
    } else if (method.empty() || method == "INTEGER_FAST") {
      contract.jpeg_dct = JpegDct::kFast;
    } else {
      return at(node, "dct_method: expected INTEGER_FAST or INTEGER_ACCURATE, found " + method);
    }
    if (attribute_or<int64_t>(node, "ratio", 1) != 1) return at(node, "a decoder that makes images smaller");
    if (!attribute_or<bool>(node, "fancy_upscaling", true))
      return at(node, "a decoder without fancy_upscaling");
    const auto type = attribute_or<int64_t>(node, "dtype", tensorflow::DT_UINT8);
    levels_ = type == tensorflow::DT_UINT8;
    if (type == tensorflow::DT_FLOAT) {
      scale_ = static_cast<double>(1.0F / 255.0F);
    } else if (!levels_) {
      return at(node, "a decoder of more than 8 bits");
    }
    return {};
  }

  /// On from the head to where one image becomes a batch, over what is a layer of the network.
  Status find_batch() {
    const FlatNode* node = input_.head;
    while (outer_ != 1) {
      const FlatNode* next = node->is_output() ? nullptr : only_reader(*node);
      if (next == nullptr) return at(*node, "expected one reader, up to where images are a batch");
      if (next->op() == kMapOp || next->op() == "ExpandDims" || next->op() == "Pack" ||
          next->op() == "StridedSlice") {
        NACRE_ASSIGN_OR_RETURN(const bool taken, take(*next));
        if (!taken) return no_batch(*next);
        input_.batching.push_back(next);
      } else if (!affine_step(*next).has_value()) {
        return no_batch(*next);
      }
      node = next;
    }
    return {};
  }

  static Status no_batch(const FlatNode& node) {
    return at(node, "is none of the steps from a decoder to a batch of images that nacre knows");
  }

  /// y = x * factor + shift: of several channels, the smallest |factor| and the largest |shift|.
  struct Affine {
    double factor = 1;
    double shift = 0;
  };

  /// Nothing for other nodes, and for constants that are none of a factor for each channel.
  static std::optional<Affine> affine_step(const FlatNode& node) {
    constexpr size_t kMostChannels = 3;
    const auto range_of = [&](size_t i) -> std::optional<std::pair<double, double>> {
      const FoldedTensor* value = i < node.inputs() && !node.is_activation(i) ? node.constant(i) : nullptr;
      if (value == nullptr || value->values().empty() || value->values().size() > kMostChannels) return {};
      std::pair<double, double> range{HUGE_VAL, 0};
      for (const float v : value->values()) {
        range.first = std::min(range.first, std::abs(static_cast<double>(v)));
        range.second = std::max(range.second, std::abs(static_cast<double>(v)));
      }
      return range;
    };
    const std::string_view op = node.op();
    if (op.starts_with("FusedBatchNorm")) {
      const auto mean = range_of(3);
      return mean.has_value() ? std::optional(Affine{1, mean->second}) : std::nullopt;
    }
    if (node.inputs() != 2) return std::nullopt;
    const size_t x = node.is_activation(0) ? 0 : 1;
    const auto other = range_of(1 - x);
    if (!other.has_value()) return std::nullopt;
    if (op == "AddV2" || op == "Add" || op == "Sub" || op == "BiasAdd") return Affine{1, other->second};
    if (op == "Mul") return Affine{other->first, 0};
    if (op == "RealDiv" && x == 0) return Affine{1 / other->second, 0};
    return std::nullopt;
  }

  /// True when the network, from `node` on, begins with what only levels of 0 to 255 need: it makes them much
  /// smaller, or takes away a mean that numbers of 0 to 1 cannot have.
  static bool takes_levels(const FlatNode* node, double factor) {
    constexpr double kLargestMeanOfUnits = 2;
    for (; node != nullptr; node = node->is_output() ? nullptr : only_reader(*node)) {
      if (node->op() == "Pad" || node->op() == "PadV2") continue;
      const std::optional<Affine> step = affine_step(*node);
      if (!step.has_value()) return false;
      if (step->shift > kLargestMeanOfUnits * factor) return true;
      factor *= step->factor;
      if (factor < kSmallestOfUnits) return true;
    }
    return false;
  }

  /// Of numbers, nothing says of which range they are, unless the graph makes them smaller itself: then they
  /// are levels of 0 to 255. Others are taken for numbers of 0 to 1.
  void settle_scale() {
    InputContract& contract = input_.contract;
    input_.graph_scale = scale_.value_or(1.0);
    bool told = input_.decodes || levels_ || input_.graph_scale < kSmallestOfUnits;
    const std::vector<const NodeView*>& readers = input_.head->readers();
    for (const NodeView* reader : readers) {
      const auto& node = static_cast<const FlatNode&>(*reader);
      if (told || !takes_levels(&node, input_.graph_scale)) continue;
      if (readers.size() == 1) {
        told = true;
      } else {
        input_.doubtful = node.described();
      }
    }
    input_.scale_told = told;
    if (told) {
      contract.scale = static_cast<float>(input_.graph_scale);
    } else {
      contract.scale *= static_cast<float>(input_.graph_scale);
    }
  }

  /// True when `node` is a step of what an InputContract says.
  Result<bool> take(const FlatNode& node) {
    const std::string_view op = node.op();
    if (op == "Cast") {
      const auto to = attribute_or<int64_t>(node, "DstT", 0);
      if (to != tensorflow::DT_FLOAT) return at(node, "expected a change to floats");
      return true;
    }
    if (op == "Mul" || op == "RealDiv" || op == "Div") return scaling(node);
    if (op == "AddV2" || op == "Add" || op == "Sub") {
      // Keras's Rescaling adds 0; anything else is a layer of the network.
      return node.inputs() == 2 && node.is_activation(0) && scalar(node, 1) == 0.0F;
    }
    if (op == "ResizeBilinear") return resize(node);
    if (op.starts_with("Resize")) return at(node, "expected images that are resized bilinearly");
    if (op == "ExpandDims") return axis_first(node, integers(node, 1), 1);
    if (op == "Squeeze") {
      return axis_first(node, attribute_or<std::vector<int64_t>>(node, "squeeze_dims", {}), -1);
    }
    if (op == "Pack" && node.inputs() == 1)
      return axis_first(node, {attribute_or<int64_t>(node, "axis", 0)}, 1);
    if (op == "StridedSlice") return sliced(node);
    if (op == kMapOp) return outside(node);
    if (op == "Reshape" && outer_ == 0) return reshape(node);
    return false;
  }

  Result<bool> scaling(const FlatNode& node) {
    const size_t x = node.inputs() == 2 && node.is_activation(0) ? 0 : 1;
    const std::optional<float> factor = node.inputs() == 2 ? scalar(node, 1 - x) : std::nullopt;
    if (!factor.has_value() || (x == 1 && node.op() != "Mul")) return false;
    const double by = static_cast<double>(*factor);
    const double scale = scale_.value_or(1.0) * (node.op() == "Mul" ? by : 1.0 / by);
    // Others than a contract may have are layers.
    const auto rounded = static_cast<float>(scale);
    if (!(rounded > 0.0F) || !std::isfinite(rounded)) return false;
    scale_ = scale;
    return true;
  }

  Result<bool> resize(const FlatNode& node) {
    if (!attribute_or<bool>(node, "half_pixel_centers", false) ||
        attribute_or<bool>(node, "align_corners", false)) {
      return at(node, "expected half_pixel_centers (tf.image.resize), found TF1's way of resizing");
    }
    const std::vector<int64_t> size = integers(node, 1);
    if (size.size() != 2 || size[0] < 1 || size[1] < 1) return at(node, "a size that is not told beforehand");
    if (input_.contract.height != 0) return at(node, "resizes images that have a fixed size before");
    input_.contract.resize = ResizePolicy::kBilinear;
    input_.contract.height = size[0];
    input_.contract.width = size[1];
    return true;
  }

  /// An extent of 1 comes in front of the others, or goes.
  Result<bool> axis_first(const FlatNode& node, const std::vector<int64_t>& axes, int change) {
    if (axes != std::vector<int64_t>{0} || outer_ + change < 0 || outer_ + change > 1 || in_map_) {
      return at(node, "expected a batch of images");
    }
    outer_ += change;
    return true;
  }

  /// image[None], and images[0] of the one that image[None] was.
  Result<bool> sliced(const FlatNode& node) {
    const auto mask = [&](std::string_view name) { return attribute_or<int64_t>(node, name, 0); };
    const std::vector<int64_t> begin = integers(node, 1);
    const std::vector<int64_t> steps = integers(node, 3);
    if (begin.empty() || begin.size() > 4 || std::ranges::any_of(steps, [](int64_t s) { return s != 1; })) {
      return false;
    }
    const int64_t behind = (int64_t{1} << begin.size()) - 2;  // a bit for each but the first
    const int64_t whole = (mask("begin_mask") & mask("end_mask")) | mask("ellipsis_mask");
    if ((whole & behind) != behind || (mask("ellipsis_mask") & 1) != 0) return false;
    const int64_t added = mask("new_axis_mask");
    const int64_t taken = mask("shrink_axis_mask");
    if (added == 1 && taken == 0) return axis_first(node, {0}, 1);
    if (taken == 1 && added == 0 && begin[0] == 0 && input_.decodes) return axis_first(node, {0}, -1);
    return false;
  }

  Result<bool> outside(const FlatNode& node) {
    if (outer_ != 0) return at(node, "expected a loop of images, each of one");
    outer_ = 1;
    in_map_ = true;
    // Where the list says what its elements are, images of another size are an error.
    const std::optional<std::vector<int64_t>> shape = element_shape(node);
    if (shape.has_value() && input_.contract.height == 0) {
      input_.contract.height = (*shape)[0];
      input_.contract.width = (*shape)[1];
    }
    return true;
  }

  /// [H, W, C] of the results of a loop.
  static std::optional<std::vector<int64_t>> element_shape(const FlatNode& node) {
    const std::vector<int64_t> told = integers(node, 1);
    if (told.size() == 3 && std::ranges::all_of(told, [](int64_t extent) { return extent > 0; })) return told;
    for (const std::string name : {"element_shape", "output_shapes"}) {
      const auto found = node.def->attr().find(name);
      if (found == node.def->attr().end()) continue;
      const tensorflow::AttrValue& value = found->second;
      const tensorflow::TensorShapeProto* shape = value.has_shape() ? &value.shape() : nullptr;
      if (shape == nullptr && value.has_list() && value.list().shape_size() == 1)
        shape = &value.list().shape(0);
      if (shape == nullptr || shape->dim_size() != 3) continue;
      std::vector<int64_t> extents;
      for (const auto& dim : shape->dim()) extents.push_back(dim.size());
      if (std::ranges::all_of(extents, [](int64_t extent) { return extent > 0; })) return extents;
    }
    return std::nullopt;
  }

  /// To [1, H, W, C] or [-1, H, W, C].
  Result<bool> reshape(const FlatNode& node) {
    const std::vector<int64_t> to = integers(node, 1);
    const bool batch = to.size() == 4 && (to[0] == 1 || to[0] == -1);
    if ((to.size() != 3 && !batch) || to.back() != input_.contract.channels) {
      return at(node, "expected a batch of images");
    }
    const int64_t height = to[to.size() - 3];
    const int64_t width = to[to.size() - 2];
    if (height < 1 || width < 1) return at(node, "expected a batch of images");
    if (input_.contract.height != 0 && (input_.contract.height != height || input_.contract.width != width)) {
      return at(node, "a shape that the images do not have", StatusCode::kCorrupt);
    }
    input_.contract.height = height;
    input_.contract.width = width;
    outer_ = batch ? 1 : 0;
    return true;
  }

  const FlatGraph& graph_;
  ImageInput input_;
  int outer_ = 0;        ///< extents before height
  bool in_map_ = false;  ///< the batch is whole
  bool levels_ = false;  ///< starts from levels of 0 to 255
  std::optional<double> scale_;
};

}  // namespace

Result<ImageInput> recognize_image_input(const FlatGraph& graph) {
  return Reader(graph).run();
}

}  // namespace nacre
