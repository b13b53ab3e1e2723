#pragma once

namespace nacre {

/// All that nacre-serve does: parses the command line, serves until SIGTERM or SIGINT, finishes what is in
/// hand. The result is the exit code.
int run_server(int argc, const char* const* argv);

}  // namespace nacre
