#pragma once

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
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
  /// input where it is wanted. Beside them their share of `peak`, the GFLOP/s that the machine can do: an
  /// algorithm that needs fewer operations may show more than 1.
  [[nodiscard]] std::string table(int64_t batch, double peak) const;
  /// The same as a list of {unit, op, forward_ms, forward_gflops, forward_peak, backward_ms, ...}; members of
  /// a pass that did not run are null.
  [[nodiscard]] nlohmann::ordered_json json(int64_t batch, double peak) const;

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

/// Counts, in an executor's forward passes, what relu left of the numbers that it saw.
class LiveCells final : public UnitObserver {
 public:
  LiveCells(const Plan& plan, Executor& executor) : plan_(&plan), executor_(&executor) {}

  void begin(size_t /*unit*/, Pass /*pass*/) override {}
  void end(size_t unit, Pass pass) override;

  /// The share above zero of all outputs of operators that clip: those of convolutions, dense layers, batch
  /// norms and relus in which no number is below zero. Behind a fused pooling, cells are those that are
  /// pooled. Nothing when the network does not clip.
  [[nodiscard]] std::optional<double> share() const;

 private:
  const Plan* plan_;
  Executor* executor_;
  int64_t cells_ = 0;
  int64_t live_ = 0;
};

}  // namespace nacre
