#pragma once

#include <string>
#include <string_view>

#include "engine/status.h"

namespace nacre::load {

/// A TCP socket that is connected to an IPv4 address, and sends at once; it is the caller's to close.
Result<int> connect_to(const std::string& host, int port);

/// kIo when the other side has closed it.
Status send_all(int socket, std::string_view bytes);

}  // namespace nacre::load
