#include "serve/grpc/prediction.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "serve/grpc/examples.h"
#include "serve/grpc/model_spec.h"
#include "serve/grpc/tensor.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using Names = std::set<std::string, std::less<>>;

RpcStatus invalid(std::string message) {
  return {RpcCode::kInvalidArgument, std::move(message)};
}

Names names_of(const std::vector<SignatureTensor>& tensors) {
  Names names;
  for (const SignatureTensor& tensor : tensors) names.insert(tensor.name);
  return names;
}

Names difference(const Names& a, const Names& b) {
  Names names;
  std::ranges::set_difference(a, b, std::inserter(names, names.end()));
  return names;
}

/// Predict takes any signature by its name, whatever its method.
RpcResult<const ServedSignature*> predict_signature(const Servable& servable, const std::string& name) {
  const std::string_view wanted = name.empty() ? kDefaultSignature : std::string_view(name);
  const auto found = std::ranges::find(
      servable.signatures(), wanted, [](const ServedSignature& s) { return std::string_view(s.info.name); });
  if (found != servable.signatures().end()) return &*found;
  return RpcStatus(RpcCode::kFailedPrecondition,
                   fmt::format("Serving signature key \"{}\" not found.", wanted));
}

RpcStatus check_inputs(const tfs::PredictRequest& request, const Signature& signature) {
  Names sent;
  for (const auto& [name, tensor] : request.inputs()) sent.insert(name);
  const Names expected = names_of(signature.inputs);
  if (sent.size() != expected.size()) {
    return invalid(
        fmt::format("input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). "
                    "Sent extra: {{{}}}. Missing but required: {{{}}}.",
                    sent.size(), expected.size(), fmt::join(sent, ","), fmt::join(expected, ","),
                    fmt::join(difference(sent, expected), ","), fmt::join(difference(expected, sent), ",")));
  }
  for (const std::string& name : sent) {
    if (expected.contains(name)) continue;
    return invalid(
        fmt::format("input tensor alias not found in signature: {}. Inputs expected to be in the set {{{}}}.",
                    name, fmt::join(expected, ",")));
  }
  return {};
}

/// The outputs that a request wants: all, unless it names some.
RpcResult<Names> wanted_outputs(const tfs::PredictRequest& request, const Signature& signature) {
  Names outputs = names_of(signature.outputs);
  if (request.output_filter().empty()) return outputs;
  Names wanted;
  for (const std::string& name : request.output_filter()) {
    if (!outputs.contains(name)) {
      return invalid(fmt::format(
          "output tensor alias not found in signature: {} Outputs expected to be in the set {{{}}}.", name,
          fmt::join(outputs, ",")));
    }
    if (!wanted.insert(name).second) return invalid("duplicate output tensor alias: " + name);
  }
  return wanted;
}

RpcResult<Scores> run_predict(const ServeCore& core, const Servable& servable,
                              const ServedSignature& signature, const tensorflow::TensorProto& tensor,
                              const CallContext& context) {
  const std::string& name = signature.info.inputs.front().name;
  if (signature.input == InputForm::kFloat) {
    const InputContract& in = servable.input();
    const auto type = signature.takes_levels() ? tensorflow::DT_UINT8 : tensorflow::DT_FLOAT;
    NACRE_ASSIGN_OR_RETURN(std::vector<float> inputs,
                           read_numbers(tensor, type, std::array{in.height, in.width, in.channels}, name));
    signature.scale(inputs);
    return core.predictor.run(servable, inputs, context, signature.output);
  }
  NACRE_ASSIGN_OR_RETURN(std::vector<EncodedImage> images, read_strings(tensor, name));
  if (signature.input == InputForm::kEncoded)
    return core.predictor.run(servable, images, context, signature.output);
  // An example may take many times its bytes once it is decoded: one at a time, and what is left is its
  // image.
  std::vector<std::string> decoded(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    tensorflow::Example example;
    if (!example.ParseFromArray(images[i].data(), static_cast<int>(images[i].size())))
      return invalid(fmt::format("example {}: Could not parse example input, value: not a tf.Example", i));
    const auto image = example_image(example, nullptr);
    if (!image.ok()) return invalid(fmt::format("example {}: {}", i, image.status().message()));
    decoded[i].assign(reinterpret_cast<const char*>(image->data()), image->size());
    images[i] = std::as_bytes(std::span(decoded[i]));
  }
  return core.predictor.run(servable, images, context, signature.output);
}

/// Indices of the classes of a row, best first; of equals the lower one.
std::vector<size_t> ranked(std::span<const float> row) {
  std::vector<size_t> order(row.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return row[a] > row[b]; });
  return order;
}

void fill_outputs(const Servable& servable, const ServedSignature& signature, const Scores& scores,
                  const Names& wanted, tfs::PredictResponse& response) {
  const auto add = [&](const std::string& name, tensorflow::DataType type) -> tensorflow::TensorProto* {
    if (!wanted.contains(name)) return nullptr;
    tensorflow::TensorProto& tensor = (*response.mutable_outputs())[name];
    tensor.set_dtype(type);
    tensor.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(scores.rows));
    tensor.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(scores.classes));
    return &tensor;
  };
  const std::vector<SignatureTensor>& outputs = signature.info.outputs;
  if (outputs.size() == 1) {
    if (auto* values = add(outputs[0].name, tensorflow::DT_FLOAT))
      values->mutable_float_val()->Add(scores.values.begin(), scores.values.end());
    return;
  }
  auto* names = add(outputs[0].name, tensorflow::DT_STRING);
  auto* values = add(outputs[1].name, tensorflow::DT_FLOAT);
  for (size_t row = 0; row < scores.rows; ++row) {
    std::vector<size_t> order = ranked(scores.row(row));
    if (signature.output != OutputForm::kRanked) std::ranges::sort(order);
    for (const size_t index : order) {
      if (names != nullptr) names->add_string_val(servable.labels()[index]);
      if (values != nullptr) values->add_float_val(scores.row(row)[index]);
    }
  }
}

void fill_classes(const Servable& servable, const Scores& scores, tfs::ClassificationResult& result) {
  for (size_t row = 0; row < scores.rows; ++row) {
    tfs::Classifications& classifications = *result.add_classifications();
    for (size_t i = 0; i < scores.classes; ++i) {
      tfs::Class& entry = *classifications.add_classes();
      entry.set_label(servable.labels()[i]);
      entry.set_score(scores.row(row)[i]);
    }
  }
}

void fill_values(const Scores& scores, tfs::RegressionResult& result) {
  for (size_t row = 0; row < scores.rows; ++row) result.add_regressions()->set_value(scores.row(row)[0]);
}

/// find_servable, which notes whose call it is also when the version is not there.
template <typename Request>
RpcResult<std::shared_ptr<const Servable>> find_subject(const ServeCore& core, const Request& request,
                                                        CallSubject& subject) {
  auto servable = find_servable(core, request);
  subject.model = servable.ok() ? (*servable)->name() : core.models.known_name(request.model_spec().name());
  return servable;
}

/// What Classify and Regress have in common: finds servable and signature, runs the images.
struct ExamplesAnswer {
  std::shared_ptr<const Servable> servable;
  std::string signature;
  Scores scores;
};

template <typename Request>
RpcResult<ExamplesAnswer> run_examples(const ServeCore& core, const Request& request, std::string_view method,
                                       const CallContext& context, CallSubject& subject) {
  NACRE_ASSIGN_OR_RETURN(const auto servable, find_subject(core, request, subject));
  NACRE_ASSIGN_OR_RETURN(const ServedSignature* const signature,
                         servable->signature(request.model_spec().signature_name(), method));
  subject.signature = signature->info.name;
  NACRE_ASSIGN_OR_RETURN(const std::vector<EncodedImage> images, input_images(request.input()));
  NACRE_ASSIGN_OR_RETURN(Scores scores, core.predictor.run(*servable, images, context));
  return ExamplesAnswer{servable, signature->info.name, std::move(scores)};
}

}  // namespace

RpcStatus answer_predict(const ServeCore& core, const tfs::PredictRequest& request,
                         const CallContext& context, tfs::PredictResponse& response, CallSubject& subject) {
  NACRE_ASSIGN_OR_RETURN(const auto servable, find_subject(core, request, subject));
  NACRE_ASSIGN_OR_RETURN(const ServedSignature* const signature,
                         predict_signature(*servable, request.model_spec().signature_name()));
  subject.signature = signature->info.name;
  if (RpcStatus checked = check_inputs(request, signature->info); !checked.ok()) return checked;
  NACRE_ASSIGN_OR_RETURN(const Names wanted, wanted_outputs(request, signature->info));
  NACRE_ASSIGN_OR_RETURN(const Scores scores,
                         run_predict(core, *servable, *signature, request.inputs().begin()->second, context));
  fill_outputs(*servable, *signature, scores, wanted, response);
  fill_model_spec(*servable, signature->info.name, *response.mutable_model_spec());
  return {};
}

RpcStatus answer_classify(const ServeCore& core, const tfs::ClassificationRequest& request,
                          const CallContext& context, tfs::ClassificationResponse& response,
                          CallSubject& subject) {
  NACRE_ASSIGN_OR_RETURN(const ExamplesAnswer answer,
                         run_examples(core, request, kClassifyMethod, context, subject));
  fill_classes(*answer.servable, answer.scores, *response.mutable_result());
  fill_model_spec(*answer.servable, answer.signature, *response.mutable_model_spec());
  return {};
}

RpcStatus answer_regress(const ServeCore& core, const tfs::RegressionRequest& request,
                         const CallContext& context, tfs::RegressionResponse& response,
                         CallSubject& subject) {
  NACRE_ASSIGN_OR_RETURN(const ExamplesAnswer answer,
                         run_examples(core, request, kRegressMethod, context, subject));
  fill_values(answer.scores, *response.mutable_result());
  fill_model_spec(*answer.servable, answer.signature, *response.mutable_model_spec());
  return {};
}

RpcStatus answer_multi_inference(const ServeCore& core, const tfs::MultiInferenceRequest& request,
                                 const CallContext& context, tfs::MultiInferenceResponse& response,
                                 CallSubject& subject) {
  if (request.tasks().empty()) return invalid("MultiInferenceRequest has no tasks");
  // Every task is looked at before anything is computed, and all of them are answered by one version.
  std::shared_ptr<const Servable> servable;
  std::vector<const ServedSignature*> signatures;
  for (const tfs::InferenceTask& task : request.tasks()) {
    if (task.model_spec().name().empty()) return invalid("Found ModelSpec with an empty model name.");
    if (task.model_spec().name() != request.tasks(0).model_spec().name())
      return invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.");
    NACRE_ASSIGN_OR_RETURN(const auto found, find_subject(core, task, subject));
    if (servable == nullptr) servable = found;
    if (found->version() != servable->version())
      return invalid("All ModelSpecs in a MultiInferenceRequest must access the same version.");
    if (task.method_name() != kClassifyMethod && task.method_name() != kRegressMethod)
      return {RpcCode::kUnimplemented, "Unsupported signature method_name: " + task.method_name()};
    NACRE_ASSIGN_OR_RETURN(const ServedSignature* const signature,
                           servable->signature(task.model_spec().signature_name(), task.method_name()));
    if (std::ranges::find(signatures, signature) != signatures.end())
      return invalid("Duplicate evaluation of signature: " + signature->info.name);
    signatures.push_back(signature);
  }
  NACRE_ASSIGN_OR_RETURN(const std::vector<EncodedImage> images, input_images(request.input()));
  NACRE_ASSIGN_OR_RETURN(const Scores scores, core.predictor.run(*servable, images, context));
  for (const ServedSignature* signature : signatures) {
    tfs::InferenceResult& result = *response.add_results();
    fill_model_spec(*servable, signature->info.name, *result.mutable_model_spec());
    if (signature->output == OutputForm::kClassified) {
      fill_classes(*servable, scores, *result.mutable_classification_result());
    } else {
      fill_values(scores, *result.mutable_regression_result());
    }
  }
  return {};
}

}  // namespace nacre
