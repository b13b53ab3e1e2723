#include "layers/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "layer_test.h"

namespace nacre {
namespace {

/// The names of tests in suite "<op>/<suite>", without their parameters' numbers.
std::set<std::string> tests_of(std::string op, const std::string& suite) {
  std::erase_if(op, [](unsigned char c) { return std::isalnum(c) == 0; });
  std::set<std::string> names;
  const auto* unit_test = ::testing::UnitTest::GetInstance();
  for (int i = 0; i < unit_test->total_test_suite_count(); ++i) {
    const auto* tests = unit_test->GetTestSuite(i);
    if (tests->name() != op + "/" + suite) continue;
    for (int j = 0; j < tests->total_test_count(); ++j) {
      const std::string name = tests->GetTestInfo(j)->name();
      names.insert(name.substr(0, name.find('/')));
    }
  }
  return names;
}

TEST(BuiltinOps, EveryOpIsDocumented) {
  const Registry registry = builtin_ops();
  EXPECT_GE(registry.all().size(), 10U);
  for (const OpDef& op : registry.all()) {
    EXPECT_FALSE(op.name.empty());
    EXPECT_GE(op.version, 1) << op.name;
    EXPECT_TRUE(op.summary.ends_with('.')) << op.name << ": the summary is one sentence";
    EXPECT_NE(op.formula.find("->"), std::string::npos) << op.name << ": the formula gives the shapes";
    for (const AttrDoc& attribute : op.attributes) {
      EXPECT_FALSE(attribute.name.empty()) << op.name;
      EXPECT_FALSE(attribute.type.empty()) << op.name << '.' << attribute.name;
      EXPECT_FALSE(attribute.text.empty()) << op.name << '.' << attribute.name;
    }
    EXPECT_NE(op.create, nullptr) << op.name;
    EXPECT_NE(op.normalize, nullptr) << op.name;
    // Fused ops never appear in graphs.
    EXPECT_EQ(op.to_tensorflow == nullptr, !op.pattern.empty())
        << op.name << ": describes itself to TensorFlow";
    EXPECT_EQ(op.from_tensorflow == nullptr, !op.pattern.empty())
        << op.name << ": recognises itself in TensorFlow's graphs";
    EXPECT_GE(op.min_inputs, 1) << op.name;
    EXPECT_GE(op.max_inputs, op.min_inputs) << op.name;
  }
}

TEST(BuiltinOps, EveryOpHasTheTestsOfALayer) {
  const Registry registry = builtin_ops();
  for (const OpDef& op : registry.all()) {
    EXPECT_EQ(tests_of(op.name, "LayerTest"),
              (std::set<std::string>{"InfersShape", "WritesDefaultsOutOnce", "DescribesItselfToTensorflow",
                                     "ReferenceGradientsAreDifferences", "FastPathMatchesReference",
                                     "AnyNumberOfThreadsGivesTheSameBits", "PackedVariablesChangeNoBit",
                                     "RowAloneEqualsRowInBatch", "InferenceComputesWhatTrainingDoes",
                                     "UnwantedInputGradientsAreNotWritten", "AddsToGradients",
                                     "PutsGradientsInPlace"}))
        << op.name << " needs INSTANTIATE_TEST_SUITE_P(..., LayerTest, ...)";
    EXPECT_EQ(tests_of(op.name, "RefusalTest"), std::set<std::string>{"SaysWhy"})
        << op.name << " needs INSTANTIATE_TEST_SUITE_P(..., RefusalTest, ...)";
  }
}

TEST(BuiltinOps, NamesAreUniqueAndFusedOpsAreHidden) {
  const Registry registry = builtin_ops();
  std::set<std::string> names;
  for (const OpDef& op : registry.all()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_EQ(registry.find(op.name) == nullptr, !op.pattern.empty()) << op.name;
    for (const std::string& link : op.pattern) EXPECT_NE(registry.find(link), nullptr) << link;
  }
  EXPECT_TRUE(names.contains("Conv2D+MaxPool2D"));
  EXPECT_EQ(registry.find("Conv3D"), nullptr);
}

}  // namespace
}  // namespace nacre
