#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nacre {

/// Appends a record of TensorFlow's TFRecord files to `file`: length, masked CRC-32C of the length, data,
/// masked CRC-32C of the data; numbers are little-endian.
void append_tf_record(std::string& file, std::string_view data);

/// Takes a record off the front of `file` and returns its data; nothing when it is cut off or damaged.
std::optional<std::string_view> take_tf_record(std::string_view& file);

}  // namespace nacre
