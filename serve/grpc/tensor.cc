#include "serve/grpc/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace nacre {
namespace {

using tensorflow::TensorProto;

RpcStatus bad(std::string_view name, const std::string& reason) {
  return {RpcCode::kInvalidArgument, fmt::format("input \"{}\": {}", name, reason)};
}

/// Dimensions that an error shows.
constexpr int kShownDims = 8;

std::string shape_text(const TensorProto& tensor) {
  if (tensor.tensor_shape().unknown_rank()) return "<unknown>";
  std::string text = "[";
  for (int i = 0; i < tensor.tensor_shape().dim_size(); ++i) {
    text += i == 0 ? "" : ", ";
    if (i == kShownDims) return text + "...]";
    text += std::to_string(tensor.tensor_shape().dim(i).size());
  }
  return text + "]";
}

std::string type_text(const TensorProto& tensor) {
  const std::string& name = tensorflow::DataType_Name(tensor.dtype());
  return name.empty() ? std::to_string(tensor.dtype()) : name;
}

/// N of a tensor of `type` and shape [N, row...].
RpcResult<size_t> count_rows(const TensorProto& tensor, tensorflow::DataType type,
                             std::span<const int64_t> row, std::string_view name) {
  if (tensor.dtype() != type) {
    return bad(name,
               fmt::format("expected {}, found {}", tensorflow::DataType_Name(type), type_text(tensor)));
  }
  const auto& shape = tensor.tensor_shape();
  bool fits = !shape.unknown_rank() && static_cast<size_t>(shape.dim_size()) == row.size() + 1;
  for (size_t i = 0; fits && i < row.size(); ++i) fits = shape.dim(static_cast<int>(i) + 1).size() == row[i];
  if (!fits || shape.dim(0).size() < 0) {
    std::string expected = "[N";
    for (const int64_t extent : row) expected += ", " + std::to_string(extent);
    return bad(name, fmt::format("expected shape {}], found {}", expected, shape_text(tensor)));
  }
  if (shape.dim(0).size() > static_cast<int64_t>(kMaxImagesPerCall)) {
    return bad(
        name, fmt::format("{} rows in one request, the limit is {}", shape.dim(0).size(), kMaxImagesPerCall));
  }
  return static_cast<size_t>(shape.dim(0).size());
}

EncodedImage bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// TensorFlow's form of strings in tensor_content: all lengths as varints, then all bytes.
RpcResult<std::vector<EncodedImage>> split_content(const std::string& content, size_t count,
                                                   std::string_view name) {
  const auto unfit = [&] {
    return bad(name,
               fmt::format("tensor_content of {} bytes does not hold {} strings", content.size(), count));
  };
  if (content.size() < count) return unfit();
  std::vector<size_t> lengths;
  size_t at = 0;
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    size_t length = 0;
    // Five bytes of a varint suffice for a length below 4 GiB; a message has less.
    for (int shift = 0;; shift += 7) {
      if (at == content.size() || shift > 28) return unfit();
      const auto byte = static_cast<uint8_t>(content[at++]);
      length |= static_cast<size_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) break;
    }
    lengths.push_back(length);
    total += length;  // at most 4096 lengths below 2^35
  }
  if (total != content.size() - at) return unfit();
  std::vector<EncodedImage> strings;
  for (const size_t length : lengths) {
    strings.push_back(bytes_of(content).subspan(at, length));
    at += length;
  }
  return strings;
}

}  // namespace

RpcResult<std::vector<EncodedImage>> read_strings(const TensorProto& tensor, std::string_view name) {
  NACRE_ASSIGN_OR_RETURN(const size_t count, count_rows(tensor, tensorflow::DT_STRING, {}, name));
  if (!tensor.tensor_content().empty()) return split_content(tensor.tensor_content(), count, name);
  if (static_cast<size_t>(tensor.string_val_size()) != count) {
    return bad(name, fmt::format("shape {} does not fit {} strings in string_val", shape_text(tensor),
                                 tensor.string_val_size()));
  }
  std::vector<EncodedImage> strings;
  strings.reserve(count);
  for (const std::string& value : tensor.string_val()) strings.push_back(bytes_of(value));
  return strings;
}

RpcResult<std::vector<float>> read_numbers(const TensorProto& tensor, tensorflow::DataType type,
                                           std::span<const int64_t> row, std::string_view name) {
  NACRE_ASSIGN_OR_RETURN(const size_t rows, count_rows(tensor, type, row, name));
  // A model's input and kMaxImagesPerCall bound the product.
  size_t count = rows;
  for (const int64_t extent : row) count *= static_cast<size_t>(extent);
  const bool levels = type == tensorflow::DT_UINT8;
  const std::string& content = tensor.tensor_content();
  if (!content.empty()) {
    if (content.size() != count * (levels ? 1 : sizeof(float))) {
      return bad(name, fmt::format("tensor_content has {} bytes, expected {} for shape {}", content.size(),
                                   count * (levels ? 1 : sizeof(float)), shape_text(tensor)));
    }
    std::vector<float> values(count);
    if (levels) {
      std::ranges::transform(content, values.begin(), [](char c) { return static_cast<uint8_t>(c); });
    } else {
      std::memcpy(values.data(), content.data(), content.size());
    }
    return values;
  }
  const auto given = static_cast<size_t>(levels ? tensor.int_val_size() : tensor.float_val_size());
  if (given > count || (given < count && (given == 0 || count - given > kMaxRepeatedFloats))) {
    return bad(name, fmt::format("{} has {} values, expected {} for shape {}",
                                 levels ? "int_val" : "float_val", given, count, shape_text(tensor)));
  }
  for (const int32_t level : tensor.int_val()) {
    if (levels && (level < 0 || level > 255))
      return bad(name, fmt::format("{} is no level of 0 to 255", level));
  }
  std::vector<float> values(tensor.float_val().begin(), tensor.float_val().end());
  if (levels) values.assign(tensor.int_val().begin(), tensor.int_val().end());
  if (given < count) values.resize(count, values.back());
  return values;
}

}  // namespace nacre
