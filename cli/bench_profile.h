#pragma once

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/executor.h"

namespace nacre {

/// Where the time of a plan goes: the least time of every operator's passes over all observed runs.
class UnitProfile final : public UnitObserver {
 public:
  explicit UnitProfile(const Plan& plan);

  void begin(size_t unit, Pass pass) override;
  void end(size_t unit, Pass pass) override;
  /// Forgets what was observed, for instance of a warm-up.
  void reset();

  /// One row for each operator and the sums. GFLOP/s count the multiply-adds of the plain algorithm, as 2
  /// each: those of forward, and of backward once for the variables' gradients and once for that of the
  /// input where it is wanted. So an algorithm that needs fewer may show more than the machine can do.
  [[nodiscard]] std::string table(int64_t batch) const;
  /// The same as a list of {unit, op, forward_ms, backward_ms, forward_gflops, backward_gflops}; members of
  /// a pass that did not run are null.
  [[nodiscard]] nlohmann::ordered_json json(int64_t batch) const;

 private:
  struct Row {
    std::array<double, 2> ms{};
    std::array<int64_t, 2> runs{};
  };
  [[nodiscard]] double gflops(size_t unit, Pass pass, int64_t batch) const;

  const Plan* plan_;
  std::vector<Row> rows_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace nacre
