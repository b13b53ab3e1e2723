#pragma once

#include <array>
#include <csignal>

namespace nacre {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP (a terminal that was closed) is noted instead of
/// killing the process; the second one kills as ever. One that the process was started to ignore (nohup)
/// stays ignored. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal that came, or 0.
  [[nodiscard]] static int received();

 private:
  std::array<struct sigaction, 3> old_{};
};

}  // namespace nacre
