#pragma once

#include <string>
#include <string_view>

namespace nacre {

/// Appends a record of TensorFlow's TFRecord files to `file`: length, masked CRC-32C of the length, data,
/// masked CRC-32C of the data; numbers are little-endian.
void append_tf_record(std::string& file, std::string_view data);

}  // namespace nacre
