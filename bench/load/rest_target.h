#pragma once

#include <string>
#include <vector>

#include "bench/load/load.h"

namespace nacre::load {

/// POSTs `bodies` in turn to http://HOST:PORT/PATH on connections that stay open; an answer other than 200 is
/// an error.
Target rest_target(const std::string& host, int port, const std::string& path,
                   std::vector<std::string> bodies);

}  // namespace nacre::load
