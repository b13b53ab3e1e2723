#include "engine/isa.h"

#include <cstdlib>

namespace nacre {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(Isa, NamesOfThisCpuParse) {
  const auto names = usable_isa_names();
  EXPECT_THAT(names, Contains("reference"));
  EXPECT_THAT(names, Contains("baseline"));
  for (const auto& name : names) {
    const auto isa = parse_isa(name);
    ASSERT_TRUE(isa.ok()) << name;
    EXPECT_EQ(isa_is_reference(*isa), name == "reference");
  }
}

TEST(Isa, NoNameMeansTheBest) {
  const auto isa = parse_isa("");
  ASSERT_TRUE(isa.ok());
  EXPECT_EQ(*isa, Isa::kBest);
  EXPECT_FALSE(isa_is_reference(*isa));
}

TEST(Isa, UnknownNameSaysWhatIsPossible) {
  for (const char* name : {"AVX2", "neon", "avx2 ", "best"}) {
    const auto isa = parse_isa(name);
    ASSERT_FALSE(isa.ok()) << name;
    EXPECT_EQ(isa.status().code(), StatusCode::kUsage);
    EXPECT_THAT(isa.status().message(), HasSubstr(std::string("'") + name + "'"));
    EXPECT_THAT(isa.status().message(), HasSubstr("reference, baseline"));
  }
}

TEST(Isa, WhatTheCpuLacksIsRefused) {
  use_isa(Isa::kBaseline);
  const auto isa = parse_isa("avx2");
  use_isa(Isa::kBest);
  ASSERT_FALSE(isa.ok());
  EXPECT_EQ(isa.status().code(), StatusCode::kUsage);
  EXPECT_THAT(isa.status().message(), HasSubstr("does not have 'avx2'"));
}

TEST(Isa, UseIsaForcesTheKernels) {
  const std::string best = current_isa_name();
  for (const auto& name : usable_isa_names()) {
    const auto isa = parse_isa(name);
    ASSERT_TRUE(isa.ok());
    use_isa(*isa);
    EXPECT_EQ(current_isa_name(), name == "reference" ? best : name);
    use_isa(Isa::kBest);
  }
  EXPECT_EQ(current_isa_name(), best);
}

TEST(Isa, EnvironmentIsRead) {
  ASSERT_EQ(setenv("NACRE_ISA", "reference", 1), 0);
  const auto reference = isa_from_environment();
  ASSERT_EQ(setenv("NACRE_ISA", "mmx", 1), 0);
  const auto unknown = isa_from_environment();
  ASSERT_EQ(unsetenv("NACRE_ISA"), 0);
  const auto best = isa_from_environment();

  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(*reference, Isa::kReference);
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.status().message(), HasSubstr("NACRE_ISA: no instruction set is called 'mmx'"));
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(*best, Isa::kBest);
}

}  // namespace
}  // namespace nacre
