#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "engine/status.h"

namespace nacre {

/// The same message in the same bytes: by itself protobuf writes maps in any order. kLimit, calling the
/// message `what`, when it would exceed protobuf's 2 GiB.
Result<std::string> deterministic_bytes(const google::protobuf::Message& message, const char* what);

}  // namespace nacre
