#include "engine/isa.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwy/highway.h>

#include <array>
#include <cstdlib>

namespace nacre {
namespace {

struct Name {
  const char* name;
  Isa isa;
  int64_t target;  ///< Highway's bit; 0 where there is none
};

constexpr std::array kNames{
    Name{"reference", Isa::kReference, 0},
    Name{"baseline", Isa::kBaseline, HWY_EMU128 | HWY_SCALAR},
    Name{"avx2", Isa::kAvx2, HWY_AVX2},
    Name{"avx512", Isa::kAvx512, HWY_AVX3},
};

bool usable(const Name& name) {
  return name.target == 0 || (hwy::SupportedTargets() & name.target) != 0;
}

}  // namespace

Result<Isa> parse_isa(std::string_view name) {
  if (name.empty()) return Isa::kBest;
  for (const Name& known : kNames) {
    if (name != known.name) continue;
    if (usable(known)) return known.isa;
    return Status(StatusCode::kUsage, fmt::format("this CPU does not have '{}'; expected one of {}", name,
                                                  fmt::join(usable_isa_names(), ", ")));
  }
  return Status(StatusCode::kUsage, fmt::format("no instruction set is called '{}'; expected one of {}", name,
                                                fmt::join(usable_isa_names(), ", ")));
}

Result<Isa> isa_from_environment() {
  const char* name = std::getenv("NACRE_ISA");
  auto isa = parse_isa(name == nullptr ? "" : name);
  if (!isa.ok()) return isa.status().at("NACRE_ISA");
  return isa;
}

void use_isa(Isa isa) {
  // Highway picks the lowest bit that is left: disable all that are better than the one asked for.
  int64_t better = 0;
  for (const Name& known : kNames) {
    if (known.isa == isa && known.target != 0) better = (known.target & -known.target) - 1;
  }
  hwy::DisableTargets(better);
}

bool halves_wide_vectors() {
#if HWY_ARCH_X86
  static const bool halves = __builtin_cpu_is("amdfam19h") != 0;
  return halves;
#else
  return false;
#endif
}

std::vector<std::string> usable_isa_names() {
  std::vector<std::string> names;
  for (const Name& known : kNames) {
    if (usable(known)) names.emplace_back(known.name);
  }
  return names;
}

std::string current_isa_name() {
  const int64_t targets = hwy::SupportedTargets();
  for (auto known = kNames.rbegin(); known != kNames.rend(); ++known) {
    if ((targets & known->target) != 0) return known->name;
  }
  return "baseline";
}

}  // namespace nacre
