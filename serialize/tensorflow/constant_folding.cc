#include "serialize/tensorflow/constant_folding.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "serialize/tensorflow/constant_ops.h"
#include "serialize/tensorflow/tensor_value.h"

namespace nacre {
namespace {

Status corrupt(const std::string& reason) {
  return {StatusCode::kCorrupt, reason};
}

/// [-1, extents of a row]: what the Shape of an activation is.
FoldedTensor shape_value(const Shape& shape) {
  FoldedTensor value;
  value.ints.assign(shape.dims().begin(), shape.dims().end());
  if (!value.ints.empty()) value.ints.front() = FoldedTensor::kBatch;
  value.shape = Shape{shape.rank()};
  return value;
}

}  // namespace

Status ConstantFolder::fold(FlatNode& node) {
  const auto keep_one = [&](FoldedTensor value) {
    node.values.push_back(std::make_unique<FoldedTensor>(std::move(value)));
  };
  const std::string_view op = node.op();
  if (op == "Const") {
    const auto value = node.def->attr().find("value");
    if (value == node.def->attr().end() || !value->second.has_tensor()) {
      return corrupt(node.described() + ": has no value");
    }
    auto read = read_tensor_value(value->second.tensor(), kMaxElements - elements_, kMaxComputed);
    if (!read.ok()) return read.status().at(node.described());
    elements_ += static_cast<int64_t>(read->values().size() + read->ints.size());
    keep_one(*std::move(read));
    return {};
  }
  if (op == "VarHandleOp" || op == "VariableV2" || op == "Variable") {
    auto floats = read_variable_(node);
    if (!floats.ok()) return floats.status().at(node.described());
    if (*floats == nullptr) return {};
    FoldedTensor value;
    value.shape = (*floats)->shape();
    value.floats = *std::move(floats);
    value.variable = node.name();
    keep_one(std::move(value));
    return {};
  }
  if (op == "Shape") {
    if (node.sources.size() != 1) return corrupt(node.described() + ": expected one input");
    const FlatNode& of = node.input(0);
    if (of.shape() != nullptr) keep_one(shape_value(*of.shape()));
    return {};
  }
  std::vector<const FoldedTensor*> in;
  for (size_t i = 0; i < node.inputs(); ++i) {
    const FoldedTensor* value = node.constant(i);
    if (value == nullptr || (value->floats == nullptr && value->ints.empty())) return {};
    in.push_back(value);
  }
  if (in.empty()) return {};
  auto values = fold_op(node, in, kMaxComputed);
  if (!values.ok()) return values.status().at(node.described());
  for (const FoldedTensor& value : *values) {
    // Elements that a variable has already, in another shape, cost nothing.
    const bool borrowed = value.floats != nullptr && value.floats == in[0]->floats;
    if (!borrowed) elements_ += static_cast<int64_t>(value.values().size() + value.ints.size());
  }
  if (elements_ > kMaxElements) {
    return {StatusCode::kLimit,
            fmt::format("{}: constants take more than {} elements", node.described(), kMaxElements)};
  }
  for (FoldedTensor& value : *values) keep_one(std::move(value));
  return {};
}

}  // namespace nacre
