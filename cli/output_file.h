#pragma once

#include <cstdint>
#include <string>

#include "engine/status.h"

namespace nacre {

/// Makes the folder that `path` lies in, and its parents; kIo.
Status make_parents(const std::string& path);

/// kIo, with the option that lifts it, when there is a file at `path`.
Status check_not_there(const std::string& path);

/// "812 bytes", "34.2 KiB", "5.1 MiB"
std::string readable_size(uint64_t bytes);

}  // namespace nacre
