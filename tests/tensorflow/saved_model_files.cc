#include "tests/tensorflow/saved_model_files.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/random.h"
#include "layers/model_file.h"
#include "runtime/prediction_bundle.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// Makes every element differ, and statistics plausible.
void disturb(VariableStore& variables) {
  for (const auto& [name, tensor] : variables.tensors()) {
    Tensor& values = *variables.find(name);
    const RandomStream stream(7, hash_name(name));
    for (int64_t i = 0; i < values.size(); ++i) {
      const float noise = stream.uniform(static_cast<uint64_t>(i)) - 0.5F;
      values.data()[i] = values.data()[i] + 0.2F * noise;
    }
  }
}

}  // namespace

Bundle bundle_of(const std::string& name, const Graph& training_graph, const InputContract& contract,
                 const Registry& registry) {
  const Shape row{contract.height, contract.width, contract.channels};
  const auto plan = Plan::make(training_graph, registry, row, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  VariableStore variables = plan->initial_variables(3);
  disturb(variables);
  auto bundle = make_prediction_bundle(name, training_graph, std::move(variables), contract, registry);
  EXPECT_TRUE(bundle.ok()) << bundle.status().message();
  return std::move(bundle).value();
}

Bundle preset_bundle(const std::string& preset, const Registry& registry) {
  const auto model = load_model(preset, registry);
  EXPECT_TRUE(model.ok()) << model.status().message();
  const auto graph = build_graph(*model, 3, registry);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  InputContract contract = model->input;
  contract.labels = {"cat", "dog", "owl"};
  return bundle_of(preset, *graph, contract, registry);
}

std::string test_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  for (char& c : name) c = c == '/' ? '_' : c;
  const fs::path folder = fs::path(testing::TempDir()) / "nacre_saved_model" / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder.string();
}

void change_saved_model(const std::string& folder,
                        const std::function<void(tensorflow::MetaGraphDef&)>& change) {
  tensorflow::SavedModel model;
  ASSERT_TRUE(model.ParseFromString(read_text(folder + "/saved_model.pb")));
  change(*model.mutable_meta_graphs(0));
  write_text(folder + "/saved_model.pb", model.SerializeAsString());
}

tensorflow::NodeDef& node_of(tensorflow::MetaGraphDef& meta, const std::string& name) {
  for (auto& node : *meta.mutable_graph_def()->mutable_node()) {
    if (node.name() == name) return node;
  }
  ADD_FAILURE() << "no node " << name;
  return *meta.mutable_graph_def()->add_node();
}

tensorflow::NodeDef& node_with_op(tensorflow::MetaGraphDef& meta, const std::string& op) {
  for (auto& node : *meta.mutable_graph_def()->mutable_node()) {
    if (node.op() == op) return node;
  }
  for (auto& function : *meta.mutable_graph_def()->mutable_library()->mutable_function()) {
    for (auto& node : *function.mutable_node_def()) {
      if (node.op() == op) return node;
    }
  }
  ADD_FAILURE() << "no node with op " << op;
  return *meta.mutable_graph_def()->add_node();
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace nacre
