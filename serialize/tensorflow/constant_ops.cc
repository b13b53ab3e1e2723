#include "serialize/tensorflow/constant_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace nacre {
namespace {

using Values = std::span<const FoldedTensor* const>;
/// The value of a node's outputs; none when it cannot be told.
using Folded = Result<std::vector<FoldedTensor>>;

Status corrupt(const std::string& reason) {
  return {StatusCode::kCorrupt, reason};
}

Status too_large(int64_t max_elements) {
  return {StatusCode::kLimit, fmt::format("computes a constant of more than {} elements", max_elements)};
}

std::vector<FoldedTensor> one(FoldedTensor value) {
  std::vector<FoldedTensor> values;
  values.push_back(std::move(value));
  return values;
}

std::vector<FoldedTensor> untold() {
  return {};
}

bool is_float(const FoldedTensor& value) {
  return value.floats != nullptr;
}

int64_t attribute_or(const FlatNode& node, std::string_view name, int64_t otherwise) {
  const auto value = node.attribute(name);
  if (!value.has_value()) return otherwise;
  if (const auto* number = std::get_if<int64_t>(&*value); number != nullptr) return *number;
  return otherwise;
}

/// The elements of `value` in another shape with as many.
Folded reshaped(const FoldedTensor& value, std::vector<int64_t> extents) {
  int64_t known = 1;
  int64_t* open = nullptr;
  for (int64_t& extent : extents) {
    if (extent == -1 && open == nullptr) {
      open = &extent;
    } else if (extent < 0 || (extent > 0 && known > Shape::kMaxElements / extent)) {
      return corrupt("a shape with negative or too many extents");
    } else {
      known *= extent;
    }
  }
  const int64_t elements = value.shape.num_elements();
  if (open != nullptr) *open = known == 0 ? 0 : elements / known;
  const Result<Shape> shape = Shape::make(extents);
  if (!shape.ok() || shape->num_elements() != elements) {
    return corrupt("does not fit the shape " + value.shape.to_string());
  }
  FoldedTensor result = value;
  result.shape = *shape;
  return one(std::move(result));
}

Folded reshape(const FlatNode& /*node*/, Values in) {
  return reshaped(*in[0], in[1]->ints);
}

Folded squeeze(const FlatNode& node, Values in) {
  const auto axes = node.attribute("squeeze_dims");
  std::vector<int64_t> chosen;
  if (axes.has_value() && std::holds_alternative<std::vector<int64_t>>(*axes)) {
    chosen = std::get<std::vector<int64_t>>(*axes);
  }
  const int rank = in[0]->shape.rank();
  std::vector<int64_t> extents;
  for (int i = 0; i < rank; ++i) {
    const bool named = std::ranges::any_of(chosen, [&](int64_t a) { return a == i || a == i - rank; });
    if (in[0]->shape[i] != 1 || (!chosen.empty() && !named)) extents.push_back(in[0]->shape[i]);
  }
  return reshaped(*in[0], std::move(extents));
}

Folded expand_dims(const FlatNode& /*node*/, Values in) {
  if (in[1]->ints.size() != 1) return corrupt("expected one axis");
  std::vector<int64_t> extents(in[0]->shape.dims().begin(), in[0]->shape.dims().end());
  int64_t axis = in[1]->ints[0];
  if (axis < 0) axis += static_cast<int64_t>(extents.size()) + 1;
  if (axis < 0 || axis > static_cast<int64_t>(extents.size())) return corrupt("an axis out of range");
  extents.insert(extents.begin() + axis, 1);
  return reshaped(*in[0], std::move(extents));
}

Folded cast(const FlatNode& node, Values in) {
  const int64_t to = attribute_or(node, "DstT", 0);
  FoldedTensor result = *in[0];
  if (to == tensorflow::DT_FLOAT) {
    if (is_float(result)) return one(std::move(result));
    auto floats = std::make_shared<Tensor>(result.shape);
    for (size_t i = 0; i < result.ints.size(); ++i) floats->data()[i] = static_cast<float>(result.ints[i]);
    result.floats = std::move(floats);
    result.ints.clear();
    return one(std::move(result));
  }
  if ((to != tensorflow::DT_INT32 && to != tensorflow::DT_INT64) || is_float(result)) return untold();
  return one(std::move(result));
}

/// Scalars become a vector; also the batch's extent.
Folded pack(const FlatNode& node, Values in) {
  if (attribute_or(node, "axis", 0) != 0) return untold();
  FoldedTensor result;
  for (const FoldedTensor* value : in) {
    if (is_float(*value) || value->ints.size() != 1 || value->shape.rank() != 0) return untold();
    result.ints.push_back(value->ints[0]);
  }
  result.shape = Shape{static_cast<int64_t>(in.size())};
  return one(std::move(result));
}

Folded concat(const FlatNode& /*node*/, Values in) {
  constexpr size_t kMaxExtents = 1 << 10;  // what is put together are shapes
  FoldedTensor result;
  for (size_t i = 0; i + 1 < in.size(); ++i) {
    if (is_float(*in[i]) || in[i]->shape.rank() != 1) return untold();
    if (in[i]->ints.size() > kMaxExtents - result.ints.size()) return too_large(kMaxExtents);
    result.ints.insert(result.ints.end(), in[i]->ints.begin(), in[i]->ints.end());
  }
  result.shape = Shape{static_cast<int64_t>(result.ints.size())};
  return one(std::move(result));
}

/// Of a vector of integers: one element, or some of them.
Folded strided_slice(const FlatNode& node, Values in) {
  if (is_float(*in[0]) || in[0]->shape.rank() != 1) return untold();
  for (size_t i = 1; i < 4; ++i) {
    if (in[i]->ints.size() != 1) return untold();
  }
  for (const std::string_view mask : {"ellipsis_mask", "new_axis_mask"}) {
    if (attribute_or(node, mask, 0) != 0) return untold();
  }
  const auto size = static_cast<int64_t>(in[0]->ints.size());
  const auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
  int64_t begin = in[1]->ints[0];
  if (attribute_or(node, "shrink_axis_mask", 0) != 0) {
    begin = begin < 0 ? begin + size : begin;
    if (begin < 0 || begin >= size) return corrupt("an index out of range");
    FoldedTensor result;
    result.ints = {in[0]->ints[static_cast<size_t>(begin)]};
    return one(std::move(result));
  }
  if (in[3]->ints[0] != 1) return untold();
  begin = attribute_or(node, "begin_mask", 0) != 0 ? 0 : place(begin);
  const int64_t end = attribute_or(node, "end_mask", 0) != 0 ? size : place(in[2]->ints[0]);
  FoldedTensor result;
  for (int64_t i = begin; i < end; ++i) result.ints.push_back(in[0]->ints[static_cast<size_t>(i)]);
  result.shape = Shape{static_cast<int64_t>(result.ints.size())};
  return one(std::move(result));
}

Folded gather(const FlatNode& /*node*/, Values in) {
  if (is_float(*in[0]) || in[0]->shape.rank() != 1 || in[1]->shape.rank() > 1) return untold();
  FoldedTensor result;
  result.shape = in[1]->shape;
  for (const int64_t index : in[1]->ints) {
    if (index < 0 || index >= static_cast<int64_t>(in[0]->ints.size()))
      return corrupt("an index out of range");
    result.ints.push_back(in[0]->ints[static_cast<size_t>(index)]);
  }
  return one(std::move(result));
}

Folded product(const FlatNode& node, Values in) {
  if (is_float(*in[0]) || in[0]->shape.rank() != 1) return untold();
  int64_t result = 1;
  for (const int64_t factor : in[0]->ints) {
    if (factor < 1 || result > Shape::kMaxElements / factor) return untold();
    result *= factor;
  }
  FoldedTensor value;
  value.ints = {result};
  const auto keep = node.attribute("keep_dims");
  if (keep.has_value() && *keep == AttrValue(true)) value.shape = Shape{1};
  return one(std::move(value));
}

/// Parts along the last axis of a tensor of floats.
Folded split(const FlatNode& node, Values in) {
  constexpr int64_t kMaxParts = 1 << 16;
  const FoldedTensor& whole = *in[1];
  const int64_t parts = attribute_or(node, "num_split", 0);
  const int rank = whole.shape.rank();
  if (!is_float(whole) || in[0]->ints.size() != 1 || rank == 0) return untold();
  if (in[0]->ints[0] != rank - 1 && in[0]->ints[0] != -1) return untold();
  const int64_t extent = whole.shape[rank - 1];
  if (parts < 1 || parts > kMaxParts || extent % parts != 0) return corrupt("parts that are not equal");
  if (extent == 0) return untold();
  std::vector<int64_t> dims(whole.shape.dims().begin(), whole.shape.dims().end());
  const int64_t width = extent / parts;
  dims.back() = width;
  NACRE_ASSIGN_OR_RETURN(const Shape shape, Shape::make(dims));
  std::vector<FoldedTensor> results;
  const int64_t rows = whole.shape.num_elements() / extent;
  for (int64_t part = 0; part < parts; ++part) {
    auto floats = std::make_shared<Tensor>(shape);
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(whole.values().data() + row * extent + part * width, width, floats->data() + row * width);
    }
    FoldedTensor& result = results.emplace_back();
    result.shape = shape;
    result.floats = std::move(floats);
    result.variable = whole.variable;
  }
  return results;
}

using Unary = float (*)(float);
const std::map<std::string, Unary, std::less<>>& unary_ops() {
  static const std::map<std::string, Unary, std::less<>> ops = {
      {"Rsqrt", [](float x) { return 1.0F / std::sqrt(x); }},
      {"Sqrt", [](float x) { return std::sqrt(x); }},
      {"Abs", [](float x) { return std::abs(x); }},
      {"Neg", [](float x) { return -x; }},
      {"Square", [](float x) { return x * x; }},
      {"Reciprocal", [](float x) { return 1.0F / x; }},
  };
  return ops;
}

using Binary = float (*)(float, float);
const std::map<std::string, Binary, std::less<>>& binary_ops() {
  static const std::map<std::string, Binary, std::less<>> ops = {
      {"Add", [](float a, float b) { return a + b; }},
      {"AddV2", [](float a, float b) { return a + b; }},
      {"Sub", [](float a, float b) { return a - b; }},
      {"Mul", [](float a, float b) { return a * b; }},
      {"RealDiv", [](float a, float b) { return a / b; }},
      {"Maximum", [](float a, float b) { return std::max(a, b); }},
      {"Minimum", [](float a, float b) { return std::min(a, b); }},
  };
  return ops;
}

Folded apply(Unary function, Values in, int64_t max_elements) {
  if (!is_float(*in[0])) return untold();
  if (in[0]->shape.num_elements() > max_elements) return too_large(max_elements);
  FoldedTensor result;
  result.shape = in[0]->shape;
  auto floats = std::make_shared<Tensor>(result.shape);
  std::ranges::transform(in[0]->values(), floats->data(), function);
  result.floats = std::move(floats);
  return one(std::move(result));
}

/// The shape that both are repeated to; nothing when they do not fit together.
std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<int64_t> dims(static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const int64_t in_a = i < rank - a.rank() ? 1 : a[i - (rank - a.rank())];
    const int64_t in_b = i < rank - b.rank() ? 1 : b[i - (rank - b.rank())];
    if (in_a != in_b && in_a != 1 && in_b != 1) return std::nullopt;
    dims[static_cast<size_t>(i)] = in_a == 1 ? in_b : in_a;
  }
  const Result<Shape> shape = Shape::make(dims);
  return shape.ok() ? std::optional(*shape) : std::nullopt;
}

/// How far the elements of `from` are apart along each extent of `to`, which `from` is repeated to: 0 where
/// it is repeated.
std::array<int64_t, Shape::kMaxRank> steps_along(const Shape& from, const Shape& to) {
  std::array<int64_t, Shape::kMaxRank> steps{};
  int64_t step = 1;
  for (int own = from.rank() - 1; own >= 0; --own) {
    if (from[own] != 1) steps[static_cast<size_t>(own + to.rank() - from.rank())] = step;
    step *= from[own];
  }
  return steps;
}

/// to[i] = function(a[...], b[...]) over `shape`, which both are repeated to; counts like an odometer.
void apply_repeated(Binary function, const FoldedTensor& left, const FoldedTensor& right, const Shape& shape,
                    float* to) {
  const auto left_steps = steps_along(left.shape, shape);
  const auto right_steps = steps_along(right.shape, shape);
  const float* a = left.values().data();
  const float* b = right.values().data();
  const int last = shape.rank() - 1;
  const int64_t inner = last < 0 ? 1 : shape[last];
  const int64_t a_step = last < 0 ? 0 : left_steps[static_cast<size_t>(last)];
  const int64_t b_step = last < 0 ? 0 : right_steps[static_cast<size_t>(last)];
  std::array<int64_t, Shape::kMaxRank> at{};
  const int64_t rows = shape.num_elements() / inner;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < inner; ++i) *to++ = function(a[i * a_step], b[i * b_step]);
    for (int axis = last - 1; axis >= 0; --axis) {
      const auto k = static_cast<size_t>(axis);
      a += left_steps[k];
      b += right_steps[k];
      if (++at[k] < shape[axis]) break;
      a -= left_steps[k] * shape[axis];
      b -= right_steps[k] * shape[axis];
      at[k] = 0;
    }
  }
}

Folded apply(Binary function, Values in, int64_t max_elements) {
  if (!is_float(*in[0]) || !is_float(*in[1])) return untold();
  FoldedTensor result;
  const std::optional<Shape> shape = broadcast(in[0]->shape, in[1]->shape);
  if (!shape.has_value()) {
    return corrupt(fmt::format("shapes {} and {} do not fit together", in[0]->shape.to_string(),
                               in[1]->shape.to_string()));
  }
  if (shape->num_elements() > max_elements) return too_large(max_elements);
  result.shape = *shape;
  auto floats = std::make_shared<Tensor>(result.shape);
  if (shape->num_elements() > 0) apply_repeated(function, *in[0], *in[1], *shape, floats->data());
  result.floats = std::move(floats);
  return one(std::move(result));
}

struct Rule {
  size_t inputs;  ///< at least
  Folded (*fold)(const FlatNode&, Values);
};

const std::map<std::string, Rule, std::less<>>& rules() {
  static const std::map<std::string, Rule, std::less<>> table = {
      {"Reshape", {2, reshape}},
      {"Squeeze", {1, squeeze}},
      {"ExpandDims", {2, expand_dims}},
      {"Cast", {1, cast}},
      {"Pack", {1, pack}},
      {"ConcatV2", {2, concat}},
      {"Split", {2, split}},
      {"StridedSlice", {4, strided_slice}},
      {"GatherV2", {2, gather}},
      {"Prod", {2, product}},
  };
  return table;
}

}  // namespace

Result<std::vector<FoldedTensor>> fold_op(const FlatNode& node, std::span<const FoldedTensor* const> in,
                                          int64_t max_elements) {
  if (const auto rule = rules().find(node.op()); rule != rules().end()) {
    return in.size() >= rule->second.inputs ? rule->second.fold(node, in) : corrupt("has too few inputs");
  }
  if (const auto op = unary_ops().find(node.op()); op != unary_ops().end() && in.size() == 1) {
    return apply(op->second, in, max_elements);
  }
  if (const auto op = binary_ops().find(node.op()); op != binary_ops().end() && in.size() == 2) {
    return apply(op->second, in, max_elements);
  }
  return untold();
}

}  // namespace nacre
