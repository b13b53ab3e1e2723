#pragma once

#include <string>
#include <string_view>

namespace nacre {

/// Appends `data` to `records` as a TFRecord: its length (8 bytes, little-endian), the masked CRC-32C of
/// these, the data, its masked CRC-32C.
void append_record(std::string_view data, std::string& records);

}  // namespace nacre
