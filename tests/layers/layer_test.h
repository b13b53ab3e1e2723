#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "engine/op_def.h"

namespace nacre {

/// One set of attributes and input shapes for an op, and the output shape it must give.
struct LayerCase {
  std::string op;
  std::vector<AttrMap> attributes;  ///< one map; for a fused op one for each node of its chain
  std::vector<Shape> inputs;
  Shape output;
};
std::ostream& operator<<(std::ostream& out, const LayerCase& layer);

/// Everything that every layer must do; see layer_test.cc. A layer's test file names its cases:
///   INSTANTIATE_TEST_SUITE_P(ReLU, LayerTest, ::testing::ValuesIn(cases()));
/// registry_test.cc fails for an op without.
class LayerTest : public ::testing::TestWithParam<LayerCase> {};

/// Attributes or shapes that an op must refuse, with a message that holds `reason`. A fused op refuses by
/// making no operator; `reason` is empty then.
struct RefusalCase {
  LayerCase layer;  ///< `output` is not used
  std::string reason;
};
std::ostream& operator<<(std::ostream& out, const RefusalCase& refusal);

class RefusalTest : public ::testing::TestWithParam<RefusalCase> {};

/// The op of that name, fused ones too.
const OpDef& find_builtin(std::string_view name);

/// Creates the operator of a case.
Result<std::unique_ptr<Operator>> create_operator(const LayerCase& layer, Mode mode = Mode::kTraining,
                                                  int threads = 1);

/// Forward of the fast path (or the reference) in inference on one input, for tests of values.
std::vector<float> forward_values(const LayerCase& layer, const std::vector<float>& input,
                                  const std::vector<std::vector<float>>& variables = {},
                                  bool reference = false);

/// The gradient with respect to the one input, likewise.
std::vector<float> input_gradient(const LayerCase& layer, const std::vector<float>& input,
                                  const std::vector<std::vector<float>>& variables,
                                  const std::vector<float>& grad_output, bool reference = false);

}  // namespace nacre
