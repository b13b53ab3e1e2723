#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// Which implementation of the kernels to use.
enum class Isa : uint8_t {
  kBest,       ///< the best instruction set that this CPU has
  kReference,  ///< the readable implementations (PlanOptions::reference) instead of the fast ones
  kBaseline,   ///< the fast kernels without any SIMD extension: what every x86-64 CPU has
  kAvx2,
  kAvx512,
};

/// The choice that `name` stands for: reference, baseline, avx2 or avx512; "" is kBest. A name
/// that is not known, or an instruction set that this CPU lacks, is kUsage, and the message names what is
/// possible here.
Result<Isa> parse_isa(std::string_view name);

/// parse_isa of the environment variable NACRE_ISA (unset: kBest); errors begin with its name.
Result<Isa> isa_from_environment();

/// Makes every fast kernel of this process use `isa`, one that parse_isa returned. Call it once, before there
/// are other threads. kReference leaves the fast kernels as they are: the caller asks Plan for the reference.
void use_isa(Isa isa);

/// Whether Plan should use the readable implementations.
constexpr bool isa_is_reference(Isa isa) {
  return isa == Isa::kReference;
}

/// Whether this CPU takes vectors of 512 bits in halves, as Zen 4 does: then a load of one takes as long as a
/// multiply-add, where other CPUs do two of each at a time. What follows from it may cost time, but changes
/// no bit.
bool halves_wide_vectors();

/// The names that parse_isa takes on this CPU.
std::vector<std::string> usable_isa_names();

/// The name of the instruction set that the fast kernels use now, for reports: results of different ones
/// differ in the last bits.
std::string current_isa_name();

}  // namespace nacre
