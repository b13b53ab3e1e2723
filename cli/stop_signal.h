#pragma once

#include <csignal>

namespace nacre {

/// While it lives, the first SIGINT or SIGTERM is noted instead of killing the process; the second one kills
/// as ever. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal that came, or 0.
  [[nodiscard]] static int received();

 private:
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
};

}  // namespace nacre
