#include "serialize/tensorflow/saved_model_signatures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "serialize/tensorflow/saved_model_file.h"

namespace nacre {
namespace {

constexpr std::string_view kPredictMethod = "tensorflow/serving/predict";
/// What TF2's loader runs for training; like kInitSignature no signature to clients.
constexpr std::string_view kTrainSignature = "__saved_model_train_op";

Status unlike(const std::string& reason) {
  return {StatusCode::kUnsupported, reason};
}

bool ends_in_softmax(const Graph& graph) {
  return graph.output().op == "Softmax";
}

bool same_tensor(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  return a.data() == b.data() ||
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) == 0;
}

/// The variables of one node in each: the same ones but for the node's name.
bool same_variables(const VariableStore& a, const std::string& node_a, const VariableStore& b,
                    const std::string& node_b) {
  const std::string prefix_a = node_a + "/";
  const std::string prefix_b = node_b + "/";
  auto i = a.tensors().lower_bound(prefix_a);
  auto j = b.tensors().lower_bound(prefix_b);
  while (true) {
    const bool more_a = i != a.tensors().end() && i->first.starts_with(prefix_a);
    const bool more_b = j != b.tensors().end() && j->first.starts_with(prefix_b);
    if (!more_a || !more_b) return more_a == more_b;
    if (i->first.substr(prefix_a.size()) != j->first.substr(prefix_b.size())) return false;
    if (!same_tensor(i->second, j->second)) return false;
    ++i;
    ++j;
  }
}

/// Up to the softmax that one of them may lack, and to the names of layers, which a copy of a network for
/// another signature has others of.
bool same_network(const ImportedModel& a, const ImportedModel& b) {
  const auto length = [](const Graph& graph) {
    return graph.nodes().size() - (ends_in_softmax(graph) ? 1 : 0);
  };
  if (length(a.graph) != length(b.graph)) return false;
  for (size_t i = 0; i < length(a.graph); ++i) {
    const Node& x = a.graph.nodes()[i];
    const Node& y = b.graph.nodes()[i];
    if (x.op != y.op || x.op_version != y.op_version || x.attributes != y.attributes) return false;
    if (a.graph.producers()[i] != b.graph.producers()[i]) return false;
    if (!same_variables(a.variables, x.name, b.variables, y.name)) return false;
  }
  return true;
}

/// As far as it matters to this signature: numbers come as the network takes them.
bool same_input(const SignatureModel& chosen, const SignatureModel& other) {
  const InputContract& a = chosen.model.contract;
  const InputContract& b = other.model.contract;
  if (other.decodes) return a == b;
  return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

Status check_form(const SignatureModel& signature) {
  const tensorflow::TensorShapeProto& in = signature.definition->inputs().begin()->second.tensor_shape();
  const tensorflow::TensorShapeProto& out = signature.definition->outputs().begin()->second.tensor_shape();
  if (signature.decodes) {
    if (!in.unknown_rank() && in.dim_size() != 1) return unlike("expected a batch of encoded images, [N]");
  } else if (in.dim(1).size() <= 0 || in.dim(2).size() <= 0) {  // image_input has checked the rank
    return unlike("takes numbers of images of any size");
  }
  if (out.unknown_rank() || out.dim_size() != 2) return unlike("expected an output [N, classes]");
  return {};
}

std::string dtype_of(const tensorflow::TensorInfo& info) {
  if (info.dtype() == tensorflow::DT_STRING) return "string";
  return info.dtype() == tensorflow::DT_UINT8 ? "uint8" : "float32";
}

}  // namespace

std::vector<std::string> predicting_signatures(const tensorflow::MetaGraphDef& meta, bool by_nacre) {
  std::vector<std::string> names;
  for (const auto& [name, definition] : meta.signature_def()) {
    if (name == kInitSignature || name == kTrainSignature) continue;
    if (!by_nacre || definition.method_name() == kPredictMethod) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

Result<ImportedSignature> answered_signature(const SignatureModel& chosen, const SignatureModel& other) {
  const std::string& of = chosen.model.signature;
  if (other.model.contract.height == 0 || other.model.contract.width == 0) {
    return unlike("does not tell the size of its images");
  }
  if (other.definition->method_name() != kPredictMethod) {
    return unlike(fmt::format("its method is {:?}", other.definition->method_name()));
  }
  NACRE_RETURN_IF_ERROR(check_form(other));
  if (!same_input(chosen, other)) return unlike(fmt::format("reads images in another way than {:?}", of));
  if (!same_network(chosen.model, other.model)) {
    return unlike(fmt::format("computes something else than {:?}", of));
  }
  const auto& input = *other.definition->inputs().begin();
  return ImportedSignature{other.model.signature,
                           input.first,
                           other.definition->outputs().begin()->first,
                           dtype_of(input.second),
                           other.decodes ? 1.0 : other.factor,
                           !ends_in_softmax(other.model.graph)};
}

}  // namespace nacre
