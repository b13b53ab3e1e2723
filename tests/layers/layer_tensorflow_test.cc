// What every layer says of itself in TensorFlow's ops holds together.
#include <gtest/gtest.h>

#include <set>

#include "layer_test.h"
#include "recording_sink.h"

namespace nacre {
namespace {

TEST_P(LayerTest, DescribesItselfToTensorflow) {
  const OpDef& op = find_builtin(GetParam().op);
  if (!op.pattern.empty()) {
    EXPECT_EQ(op.to_tensorflow, nullptr) << "a fused op is in no graph";
    return;
  }
  const auto created = create_operator(GetParam(), Mode::kInference);
  ASSERT_TRUE(created.ok()) << created.status().message();
  DescribeRequest request{.scope = "layer",
                          .attributes = GetParam().attributes[0],
                          .inputs = {},
                          .shapes = GetParam().inputs,
                          .variables = {}};
  std::set<std::string> known;
  for (size_t i = 0; i < GetParam().inputs.size(); ++i) request.inputs.push_back("in" + std::to_string(i));
  for (const VariableSpec& spec : (*created)->info().variables)
    request.variables.push_back("layer/" + spec.name);
  known.insert(request.inputs.begin(), request.inputs.end());
  known.insert(request.variables.begin(), request.variables.end());
  RecordingSink sink;
  const auto output = op.to_tensorflow(request, sink);
  ASSERT_TRUE(output.ok()) << output.status().message();
  for (const std::string& name : sink.names) {
    EXPECT_TRUE(name == "layer" || name.starts_with("layer/")) << name;
    EXPECT_TRUE(known.insert(name).second) << name << " is the name of a variable";
  }
  EXPECT_EQ(sink.nodes_of_floats, sink.nodes) << "a node lacks the attribute T";
  for (const std::string& tensor : sink.used) {
    EXPECT_TRUE(known.contains(tensor.substr(0, tensor.find(':')))) << tensor;
  }
  EXPECT_TRUE(known.contains(*output)) << *output;
  // All that the layer knows is in what it says.
  for (const std::string& tensor : request.variables) EXPECT_TRUE(sink.used.contains(tensor)) << tensor;
  for (const std::string& tensor : request.inputs) {
    EXPECT_TRUE(sink.used.contains(tensor) || tensor == *output) << tensor;
  }
}

}  // namespace
}  // namespace nacre
