#include "serialize/tensorflow/saver_graph.h"

#include <array>
#include <string>

#include "serialize/tensorflow/network_graph.h"

namespace nacre {
namespace {

using tensorflow::DT_FLOAT;
using tensorflow::DT_STRING;

/// Saver's own defaults.
constexpr int kMaxToKeep = 5;
constexpr float kKeepEveryHours = 10000.0F;

tensorflow::VariableDef variable_def(const PlannedVariable& variable, const std::string& assign) {
  tensorflow::VariableDef definition;
  definition.set_variable_name(variable.name + ":0");
  // The node that first gives it a value; here there is none but the one that restores it.
  definition.set_initializer_name(assign);
  definition.set_snapshot_name(NetworkGraph::read_of(variable.name) + ":0");
  definition.set_is_resource(true);
  definition.set_trainable(variable.trainable);
  return definition;
}

}  // namespace

void add_saver(GraphBuilder& graph, const std::vector<PlannedVariable>& variables,
               tensorflow::MetaGraphDef& meta_graph) {
  const std::vector<tensorflow::DataType> types(variables.size(), DT_FLOAT);
  std::vector<std::string> names;
  std::vector<std::string> reads;
  for (const PlannedVariable& variable : variables) {
    names.push_back(variable.name);
    reads.push_back(NetworkGraph::read_of(variable.name));
  }
  const std::array<int64_t, 1> count{static_cast<int64_t>(names.size())};
  const std::vector<std::string> whole(names.size(), "");
  const std::string filename =
      graph.constant("save/Const", std::span<const int64_t>(), std::array<std::string, 1>{"model"});
  const std::string keys = graph.constant("save/tensor_names", count, names);
  const std::string slices = graph.constant("save/shape_and_slices", count, whole);

  std::vector<std::string> inputs{filename, keys, slices};
  inputs.insert(inputs.end(), reads.begin(), reads.end());
  tensorflow::NodeDef& save = graph.node("SaveV2", "save/SaveV2", inputs);
  set_types(save, "dtypes", types);
  tensorflow::NodeDef& saved =
      graph.node("Identity", "save/control_dependency", {filename, "^" + save.name()});
  set_type(saved, "T", DT_STRING);
  const std::string saved_name = saved.name();

  tensorflow::NodeDef& restore = graph.node("RestoreV2", "save/RestoreV2", {filename, keys, slices});
  set_types(restore, "dtypes", types);
  const std::string restored = restore.name();
  std::vector<std::string> assigns;
  auto& collections = *meta_graph.mutable_collection_def();
  for (size_t i = 0; i < variables.size(); ++i) {
    tensorflow::NodeDef& assign =
        graph.node("AssignVariableOp", "save/Assign", {names[i], tensor_of(restored, i)});
    set_type(assign, "dtype", DT_FLOAT);
    assigns.push_back("^" + assign.name());
    const std::string definition = variable_def(variables[i], assign.name()).SerializeAsString();
    collections["variables"].mutable_bytes_list()->add_value(definition);
    if (!variables[i].trainable) continue;
    collections["trainable_variables"].mutable_bytes_list()->add_value(definition);
  }
  const std::string restore_all = graph.node("NoOp", "save/restore_all", assigns).name();

  tensorflow::SaverDef& saver = *meta_graph.mutable_saver_def();
  saver.set_filename_tensor_name(filename + ":0");
  saver.set_save_tensor_name(saved_name + ":0");
  saver.set_restore_op_name(restore_all);
  saver.set_max_to_keep(kMaxToKeep);
  saver.set_keep_checkpoint_every_n_hours(kKeepEveryHours);
  saver.set_version(tensorflow::SaverDef::V2);
}

}  // namespace nacre
