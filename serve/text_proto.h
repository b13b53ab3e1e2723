#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <string>

#include "engine/status.h"

namespace nacre {

/// Largest configuration file in protobuf's text form.
inline constexpr size_t kMaxTextProtoBytes = size_t{16} << 20;

/// Reads a file in protobuf's text form. Errors are `path: reason` (kIo, kLimit) and `path:line:column:
/// reason` (kBadData) for the first thing that is wrong.
Status read_text_proto(const std::string& path, google::protobuf::Message& message);

}  // namespace nacre
