#pragma once

#include <functional>
#include <string_view>

namespace nacre {

/// Where the server says what happens to it, a line at a time, without its line end. Called by any thread.
using Log = std::function<void(std::string_view line)>;

}  // namespace nacre
