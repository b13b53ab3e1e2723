#include "cli/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

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

std::string UnitProfile::table(int64_t batch, double peak) const {
  std::string text = fmt::format("{:<32} {:>12} {:>9} {:>5} {:>12} {:>9} {:>5}\n", "unit", "forward ms",
                                 "GFLOP/s", "peak", "backward ms", "GFLOP/s", "peak");
  std::array<double, 2> sums{};
  for (size_t unit = 0; unit < rows_.size(); ++unit) {
    text += fmt::format("{:<32}", plan_->units()[unit].name);
    for (const Pass pass : kPasses) {
      const auto p = static_cast<size_t>(pass);
      sums[p] += rows_[unit].ms[p];
      const double rate = gflops(unit, pass, batch);
      text += rows_[unit].runs[p] == 0
                  ? fmt::format(" {:>12} {:>9} {:>5}", "-", "-", "-")
                  : fmt::format(" {:>12.3f} {:>9.1f} {:>5.2f}", rows_[unit].ms[p], rate, rate / peak);
    }
    text += "\n";
  }
  return text +
         fmt::format("{:<32} {:>12.3f} {:>15} {:>12.3f}\n", "sum of the least times", sums[0], "", sums[1]) +
         fmt::format("peak: the machine's {:.1f} GFLOP/s\n", peak);
}

nlohmann::ordered_json UnitProfile::json(int64_t batch, double peak) const {
  auto list = nlohmann::ordered_json::array();
  for (size_t unit = 0; unit < rows_.size(); ++unit) {
    nlohmann::ordered_json row = {{"unit", plan_->units()[unit].name}, {"op", plan_->units()[unit].op->name}};
    for (const Pass pass : kPasses) {
      const auto p = static_cast<size_t>(pass);
      const std::string name = pass == Pass::kForward ? "forward" : "backward";
      const bool ran = rows_[unit].runs[p] > 0;
      row[name + "_ms"] = ran ? nlohmann::ordered_json(rows_[unit].ms[p]) : nullptr;
      const double rate = gflops(unit, pass, batch);
      row[name + "_gflops"] = ran ? nlohmann::ordered_json(rate) : nullptr;
      row[name + "_peak"] = ran ? nlohmann::ordered_json(rate / peak) : nullptr;
    }
    list.push_back(std::move(row));
  }
  return list;
}

void LiveCells::end(size_t unit, Pass pass) {
  const Unit& planned = plan_->units()[unit];
  const bool may_clip = !planned.variables.empty() || planned.op->name.find("ReLU") != std::string::npos;
  if (pass != Pass::kForward || !may_clip) return;
  const TensorView<const float> output = executor_->output(unit);
  const std::span<const float> cells(output.data, static_cast<size_t>(output.size()));
  if (std::ranges::any_of(cells, [](float cell) { return cell < 0; })) return;
  live_ += std::ranges::count_if(cells, [](float cell) { return cell > 0; });
  cells_ += output.size();
}

std::optional<double> LiveCells::share() const {
  if (cells_ == 0) return std::nullopt;
  return static_cast<double>(live_) / static_cast<double>(cells_);
}

}  // namespace nacre
