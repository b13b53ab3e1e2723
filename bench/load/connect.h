#pragma once

#include <span>
#include <string>
#include <string_view>

#include "bench/load/load.h"
#include "engine/status.h"

namespace nacre::load {

/// A TCP socket that is connected to an IPv4 address, sends at once, and has the kernel note when bytes come;
/// it is the caller's to close.
Result<int> connect_to(const std::string& host, int port);

/// kIo when the other side has closed it.
Status send_all(int socket, std::string_view bytes);

struct Received {
  size_t bytes = 0;
  Clock::time_point arrived;  ///< the last of them, at this machine; whoever reads them may have been late
};
/// What there is, in `buffer`, which is not empty; waits for something. kIo when the other side has closed
/// it.
Result<Received> receive_some(int socket, std::span<char> buffer);

}  // namespace nacre::load
