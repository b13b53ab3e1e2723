#pragma once

#include <string>

#include "serve/rest/http_message.h"

namespace nacre {

/// A reply's status line and headers, with the empty line behind them.
std::string head_of(const HttpReply& reply, bool keep_alive, bool http_1_0);

}  // namespace nacre
