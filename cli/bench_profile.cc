#include "cli/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>

namespace nacre {
namespace {

constexpr std::array kPasses{UnitObserver::Pass::kForward, UnitObserver::Pass::kBackward};

}  // namespace

UnitProfile::UnitProfile(const Plan& plan) : plan_(&plan), rows_(plan.units().size()) {}

void UnitProfile::begin(size_t /*unit*/, Pass /*pass*/) {
  started_ = std::chrono::steady_clock::now();
}

void UnitProfile::end(size_t unit, Pass pass) {
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - started_;
  const auto p = static_cast<size_t>(pass);
  Row& row = rows_[unit];
  row.ms[p] = row.runs[p] == 0 ? took.count() : std::min(row.ms[p], took.count());
  ++row.runs[p];
}

void UnitProfile::reset() {
  std::ranges::fill(rows_, Row{});
}

double UnitProfile::gflops(size_t unit, Pass pass, int64_t batch) const {
  const Unit& planned = plan_->units()[unit];
  const OperatorInfo& info = planned.operation->info();
  int64_t passes = 1;
  if (pass == Pass::kBackward) {
    passes = std::ranges::count(planned.wants_input_gradient, true) + (info.variables.empty() ? 0 : 1);
  }
  const double ms = rows_[unit].ms[static_cast<size_t>(pass)];
  return ms > 0 ? static_cast<double>(passes * info.flops_per_row * batch) / ms * 1e-6 : 0;
}

std::string UnitProfile::table(int64_t batch) const {
  std::string text = fmt::format("{:<32} {:>12} {:>9} {:>12} {:>9}\n", "unit", "forward ms", "GFLOP/s",
                                 "backward ms", "GFLOP/s");
  std::array<double, 2> sums{};
  for (size_t unit = 0; unit < rows_.size(); ++unit) {
    text += fmt::format("{:<32}", plan_->units()[unit].name);
    for (const Pass pass : kPasses) {
      const auto p = static_cast<size_t>(pass);
      sums[p] += rows_[unit].ms[p];
      text += rows_[unit].runs[p] == 0
                  ? fmt::format(" {:>12} {:>9}", "-", "-")
                  : fmt::format(" {:>12.3f} {:>9.1f}", rows_[unit].ms[p], gflops(unit, pass, batch));
    }
    text += "\n";
  }
  return text +
         fmt::format("{:<32} {:>12.3f} {:>9} {:>12.3f}\n", "sum of the least times", sums[0], "", sums[1]);
}

nlohmann::ordered_json UnitProfile::json(int64_t batch) const {
  auto list = nlohmann::ordered_json::array();
  for (size_t unit = 0; unit < rows_.size(); ++unit) {
    nlohmann::ordered_json row = {{"unit", plan_->units()[unit].name}, {"op", plan_->units()[unit].op->name}};
    for (const Pass pass : kPasses) {
      const auto p = static_cast<size_t>(pass);
      const std::string name = pass == Pass::kForward ? "forward" : "backward";
      const bool ran = rows_[unit].runs[p] > 0;
      row[name + "_ms"] = ran ? nlohmann::ordered_json(rows_[unit].ms[p]) : nullptr;
      row[name + "_gflops"] = ran ? nlohmann::ordered_json(gflops(unit, pass, batch)) : nullptr;
    }
    list.push_back(std::move(row));
  }
  return list;
}

}  // namespace nacre
