#include "runtime/prediction_bundle.h"

#include <fmt/format.h>

#include <utility>

#include "serialize/bundle_file.h"

namespace nacre {
namespace {

/// The plan, all but its variables checked.
Result<Plan> plan_graph(const Bundle& bundle, const Registry& registry, PlanOptions options) {
  const InputContract& contract = bundle.contract;
  options.mode = Mode::kInference;
  NACRE_ASSIGN_OR_RETURN(
      Plan plan,
      Plan::make(bundle.graph, registry, Shape{contract.height, contract.width, contract.channels}, options));
  const Shape& output = plan.output_shape();
  if (output.rank() != 2) {
    return Status(StatusCode::kBadData,
                  "the network's output is " + output.to_string() + ", expected [N, classes]");
  }
  const auto labels = static_cast<int64_t>(contract.labels.size());
  if (labels != 0 && labels != output[1]) {
    return Status(StatusCode::kBadData, fmt::format("{} labels for {} outputs", labels, output[1]));
  }
  return plan;
}

/// How clients of TensorFlow Serving call a classifier.
Signature serving_default(int64_t classes) {
  Signature signature;
  signature.name = "serving_default";
  signature.method = "tensorflow/serving/predict";
  signature.inputs = {{"image", "string", {-1}}};
  signature.outputs = {{std::string(kPredictionName), "float32", {-1, classes}}};
  return signature;
}

}  // namespace

Result<Plan> plan_prediction(const Bundle& bundle, const Registry& registry, PlanOptions options) {
  NACRE_ASSIGN_OR_RETURN(Plan plan, plan_graph(bundle, registry, options));
  NACRE_RETURN_IF_ERROR(plan.check_variables(bundle.variables));
  return plan;
}

Result<Bundle> open_bundle(const std::string& path, const Registry& registry, const ReadOptions& options) {
  NACRE_ASSIGN_OR_RETURN(Bundle bundle, read_bundle(path, options));
  const Status fits = plan_prediction(bundle, registry, {}).status();
  if (fits.ok()) return bundle;
  // A bundle whose parts do not fit is a damaged file, whatever Plan calls it.
  const StatusCode code = fits.code() == StatusCode::kBadData ? StatusCode::kCorrupt : fits.code();
  return Status(code, path + ": " + fits.message());
}

Result<Bundle> make_prediction_bundle(std::string name, const Graph& training_graph, VariableStore trained,
                                      InputContract contract, const Registry& registry) {
  Bundle bundle;
  bundle.name = std::move(name);
  bundle.contract = std::move(contract);
  NACRE_ASSIGN_OR_RETURN(bundle.graph, redraw_for_prediction(training_graph, registry));
  NACRE_ASSIGN_OR_RETURN(const Plan plan, plan_graph(bundle, registry, {}));
  NACRE_RETURN_IF_ERROR(plan.check_variables(trained));
  for (const PlannedVariable& variable : plan.variables()) {
    NACRE_RETURN_IF_ERROR(bundle.variables.add(variable.name, std::move(*trained.find(variable.name))));
  }
  bundle.signatures = {serving_default(plan.output_shape()[1])};
  return bundle;
}

}  // namespace nacre
