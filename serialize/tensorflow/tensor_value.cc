#include "serialize/tensorflow/tensor_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace nacre {
namespace {

Status corrupt(const std::string& reason) {
  return {StatusCode::kCorrupt, reason};
}

/// The `count` elements of type T, from the tensor's bytes or its list, where the last one goes on.
template <typename T, typename List>
Result<std::vector<T>> elements_of(const tensorflow::TensorProto& tensor, const List& list, size_t count) {
  std::vector<T> values(count);
  const std::string& content = tensor.tensor_content();
  if (!content.empty()) {
    if (content.size() != count * sizeof(T)) {
      return corrupt(
          fmt::format("expected {} bytes of elements, found {}", count * sizeof(T), content.size()));
    }
    std::memcpy(values.data(), content.data(), content.size());
    return values;
  }
  const auto listed = static_cast<size_t>(list.size());
  if (listed > count || (listed == 0 && count > 0)) {
    return corrupt(fmt::format("expected {} elements, found {}", count, listed));
  }
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<T>(list[static_cast<int>(std::min(i, listed - 1))]);
  }
  return values;
}

float from_half(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits >> 15) << 31;
  const uint32_t exponent = (bits >> 10) & 0x1fU;
  const uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 0x1f ? 0xffU : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

template <typename T>
std::shared_ptr<const Tensor> as_floats(const Shape& shape, const std::vector<T>& values) {
  auto tensor = std::make_shared<Tensor>(shape);
  for (size_t i = 0; i < values.size(); ++i) tensor->data()[i] = static_cast<float>(values[i]);
  return tensor;
}

}  // namespace

Result<Shape> read_shape(const tensorflow::TensorShapeProto& shape) {
  if (shape.unknown_rank() || shape.dim_size() > Shape::kMaxRank) {
    return corrupt(fmt::format("expected a shape of at most {} extents", Shape::kMaxRank));
  }
  std::vector<int64_t> dims;
  for (const auto& dim : shape.dim()) dims.push_back(dim.size());
  auto made = Shape::make(dims);
  return made.ok() ? made : Result<Shape>(corrupt("shape: " + made.status().message()));
}

Result<FoldedTensor> read_tensor_value(const tensorflow::TensorProto& tensor, int64_t max_elements,
                                       int64_t max_repeated) {
  FoldedTensor value;
  NACRE_ASSIGN_OR_RETURN(value.shape, read_shape(tensor.tensor_shape()));
  const int64_t elements = value.shape.num_elements();
  // An element takes a byte at least, unless one number stands for many.
  const bool repeated = elements > static_cast<int64_t>(tensor.ByteSizeLong());
  const int64_t limit = repeated ? std::min(max_elements, max_repeated) : max_elements;
  if (elements > limit) {
    return Status(StatusCode::kLimit,
                  fmt::format("{} elements of constants, at most {} are read", elements, limit));
  }
  const auto count = static_cast<size_t>(elements);
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT: {
      NACRE_ASSIGN_OR_RETURN(const auto values, elements_of<float>(tensor, tensor.float_val(), count));
      value.floats = as_floats(value.shape, values);
      break;
    }
    case tensorflow::DT_DOUBLE: {
      NACRE_ASSIGN_OR_RETURN(const auto values, elements_of<double>(tensor, tensor.double_val(), count));
      value.floats = as_floats(value.shape, values);
      break;
    }
    case tensorflow::DT_HALF: {
      NACRE_ASSIGN_OR_RETURN(const auto bits, elements_of<uint16_t>(tensor, tensor.half_val(), count));
      std::vector<float> values;
      for (const uint16_t b : bits) values.push_back(from_half(b));
      value.floats = as_floats(value.shape, values);
      break;
    }
    case tensorflow::DT_INT32: {
      NACRE_ASSIGN_OR_RETURN(const auto values, elements_of<int32_t>(tensor, tensor.int_val(), count));
      value.ints.assign(values.begin(), values.end());
      break;
    }
    case tensorflow::DT_INT64: {
      NACRE_ASSIGN_OR_RETURN(value.ints, elements_of<int64_t>(tensor, tensor.int64_val(), count));
      break;
    }
    case tensorflow::DT_BOOL: {
      NACRE_ASSIGN_OR_RETURN(const auto values, elements_of<uint8_t>(tensor, tensor.bool_val(), count));
      value.ints.assign(values.begin(), values.end());
      break;
    }
    default:
      break;
  }
  return value;
}

}  // namespace nacre
