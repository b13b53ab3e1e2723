#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "schemas/tensorflow/tensor.pb.h"
#include "serve/predictor.h"
#include "serve/rpc_status.h"

namespace nacre {

/// Elements that a float tensor may have beyond those that the request spells out (TensorFlow repeats the
/// last one).
inline constexpr size_t kMaxRepeatedFloats = size_t{16} << 20;

/// The elements of a DT_STRING tensor of shape [N], in string_val or tensor_content; borrowed from it.
/// kInvalidArgument `input "NAME": expected ..., found ...` for another type or shape, contents that do not
/// fit the shape, and more than kMaxImagesPerCall elements.
RpcResult<std::vector<EncodedImage>> read_strings(const tensorflow::TensorProto& tensor,
                                                  std::string_view name);

/// The elements of a tensor of `type`, DT_FLOAT or DT_UINT8, of shape [N, `row`...], in tensor_content
/// (little-endian), or in float_val or int_val, where fewer than there should be mean that the last one goes
/// on. Errors as above, and for an int_val that is no level of 0 to 255.
RpcResult<std::vector<float>> read_numbers(const tensorflow::TensorProto& tensor, tensorflow::DataType type,
                                           std::span<const int64_t> row, std::string_view name);

}  // namespace nacre
