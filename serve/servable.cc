#include "serve/servable.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "layers/registry.h"
#include "runtime/golden.h"
#include "serve/version_model.h"

namespace nacre {
namespace {

std::string_view method_word(std::string_view method) {
  if (method == kClassifyMethod) return "classification";
  return method == kRegressMethod ? "regression" : "predict";
}

std::string_view default_signature_of(std::string_view method) {
  if (method == kClassifyMethod) return "classify";
  return method == kRegressMethod ? "regress" : kDefaultSignature;
}

/// Of a batch that a version is warmed up with.
constexpr int64_t kMostWarmRows = 64;

/// Operations of an image for each byte of the variables, up to which calls are joined: a run then spends a
/// good part of its time on reading the variables.
constexpr int64_t kMostFlopsPerByte = 16;

Status out_of_memory() {
  return {StatusCode::kLimit, "out of memory"};
}

std::vector<ServedSignature> nacres_signatures(const InputContract& contract, int64_t classes) {
  const std::string predict(kPredictMethod);
  const SignatureTensor encoded{"image", "string", {-1}};
  const SignatureTensor floats{"image", "float32", {-1, contract.height, contract.width, contract.channels}};
  const SignatureTensor examples{"inputs", "string", {-1}};
  const SignatureTensor prediction{"prediction", "float32", {-1, classes}};
  const SignatureTensor names{"classes", "string", {-1, classes}};
  const SignatureTensor scores{"scores", "float32", {-1, classes}};
  std::vector<ServedSignature> signatures = {
      {{"classify", std::string(kClassifyMethod), {examples}, {names, scores}},
       InputForm::kExamples,
       OutputForm::kClassified},
      {{"encoded_image", predict, {encoded}, {prediction}}, InputForm::kEncoded, OutputForm::kProbabilities},
      {{"float_image", predict, {floats}, {prediction}}, InputForm::kFloat, OutputForm::kProbabilities},
      {{"labelled_image", predict, {encoded}, {names, scores}}, InputForm::kEncoded, OutputForm::kRanked},
  };
  if (classes == 1) {
    const SignatureTensor value{"outputs", "float32", {-1, 1}};
    signatures.push_back({{"regress", std::string(kRegressMethod), {examples}, {value}},
                          InputForm::kExamples,
                          OutputForm::kValue});
  }
  signatures.push_back({{std::string(kDefaultSignature), predict, {encoded}, {prediction}},
                        InputForm::kEncoded,
                        OutputForm::kProbabilities});
  return signatures;
}

ServedSignature served(const ImportedSignature& own, const InputContract& contract, int64_t classes) {
  const bool encoded = own.dtype == "string";
  std::vector<int64_t> shape{-1};
  if (!encoded) shape = {-1, contract.height, contract.width, contract.channels};
  const SignatureTensor input{own.input, own.dtype, std::move(shape)};
  const SignatureTensor output{own.output, "float32", {-1, classes}};
  return {{own.name, std::string(kPredictMethod), {input}, {output}},
          encoded ? InputForm::kEncoded : InputForm::kFloat,
          own.scores ? OutputForm::kScores : OutputForm::kProbabilities,
          static_cast<float>(own.factor)};
}

bool any_gives_scores(const ImportedSignatures& own) {
  return std::ranges::any_of(own.answered, &ImportedSignature::scores);
}

/// A model whose recorded answers have been replayed. For signatures that give scores it is then made anew
/// without the softmax, and with answers of its own, to warm up with.
Result<Model> make_model(Bundle read, bool scores, const ModelOptions& options) {
  const auto bundle = std::make_shared<Bundle>(std::move(read));
  const Registry registry = builtin_ops();
  // Where nobody recorded answers, finite ones are wanted, and pictures to warm up with.
  if (bundle->golden.empty()) NACRE_RETURN_IF_ERROR(add_golden_vectors(*bundle, registry, options));
  {
    NACRE_ASSIGN_OR_RETURN(Model model, Model::make(bundle, registry, options));
    NACRE_RETURN_IF_ERROR(model.replay_golden_vectors().status());
    if (!scores) return model;
  }
  std::vector<Node> nodes = bundle->graph.nodes();
  nodes.pop_back();
  NACRE_ASSIGN_OR_RETURN(bundle->graph, Graph::make(std::move(nodes)));
  bundle->golden.clear();
  NACRE_RETURN_IF_ERROR(add_golden_vectors(*bundle, registry, options));
  return Model::make(bundle, registry, options);
}

}  // namespace

void ServedSignature::scale(std::span<float> numbers) const {
  if (factor == 1.0F) return;
  for (float& number : numbers) number *= factor;
}

std::vector<ServedSignature> served_signatures(const InputContract& contract, int64_t classes,
                                               const ImportedSignatures& own) {
  std::vector<ServedSignature> signatures = nacres_signatures(contract, classes);
  const auto is_taken = [&](const ServedSignature& signature) {
    const auto is_its = [&](const auto& other) { return other.name == signature.info.name; };
    return std::ranges::any_of(own.answered, is_its) || std::ranges::any_of(own.left_out, is_its);
  };
  std::erase_if(signatures, is_taken);
  for (const ImportedSignature& signature : own.answered) {
    signatures.push_back(served(signature, contract, classes));
  }
  std::ranges::sort(signatures, {}, [](const ServedSignature& s) { return s.info.name; });
  return signatures;
}

Servable::Servable(std::string name, int64_t version, Model model, const ImportedSignatures& own,
                   const ImageLimits& limits)
    : name_(std::move(name)),
      version_(version),
      model_(std::move(model)),
      gives_scores_(any_gives_scores(own)),
      limits_(limits),
      signatures_(served_signatures(model_.input(), model_.classes(), own)) {
  labels_ = model_.input().labels;
  for (auto i = static_cast<int64_t>(labels_.size()); i < model_.classes(); ++i) {
    labels_.push_back(std::to_string(i));
  }
}

Result<std::shared_ptr<const Servable>> Servable::load(const std::string& name, int64_t version,
                                                       const std::string& folder,
                                                       const ServableOptions& options,
                                                       std::shared_ptr<ComputeSlots> slots,
                                                       ServeMetrics& metrics) {
  try {
    NACRE_ASSIGN_OR_RETURN(VersionModel read, read_version_model(name, folder, builtin_ops()));
    ModelOptions model_options;
    model_options.threads = options.threads;
    model_options.batch =
        options.batching.has_value() ? static_cast<int64_t>(options.batching->max_batch_size) : options.batch;
    model_options.limits = options.limits;
    auto model = make_model(std::move(read.bundle), any_gives_scores(read.signatures), model_options);
    if (!model.ok()) return model.status().at(folder);
    std::shared_ptr<Servable> servable(
        new Servable(name, version, std::move(model).value(), read.signatures, options.limits));
    servable->notes_ = std::move(read.notes);
    if (options.warm_up) {
      const ServeClock::time_point begun = ServeClock::now();
      if (const Status warm = servable->warm_up(slots->slots(), model_options.batch); !warm.ok())
        return warm.at(folder);
      metrics.count_warm_up(name,
                            std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun));
    }
    servable->make_batcher(options, std::move(slots), metrics);
    return std::shared_ptr<const Servable>(std::move(servable));
  } catch (const std::bad_alloc&) {
    return out_of_memory().at(folder);
  } catch (const std::system_error& error) {  // no more threads
    return Status(StatusCode::kInternal, error.what()).at(folder);
  }
}

void Servable::make_batcher(const ServableOptions& options, std::shared_ptr<ComputeSlots> slots,
                            ServeMetrics& metrics) {
  const bool gains = model_.flops() <= kMostFlopsPerByte * model_.variable_bytes();
  if (!options.batching.has_value() && (options.joined.max_batch_size < 2 || !gains)) return;
  most_images_joined_ = options.batching.has_value() ? kMaxImagesPerCall : 1;
  const BatchingOptions batching = options.batching.value_or(options.joined);
  batcher_ = std::make_unique<Batcher>(model_, batching, std::move(slots), metrics);
}

/// In as many threads as will compute: its pictures from decoding on, and a whole batch, so that all buffers
/// are there.
Status Servable::warm_up(size_t lanes, int64_t batch) const {
  const InputContract& in = input();
  batch = std::min(batch, kMostWarmRows);
  const std::vector<float> images(static_cast<size_t>(batch * in.height * in.width * in.channels));
  std::atomic<bool> failed{false};
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < lanes; ++i) {
      threads.emplace_back([&] {
        std::vector<float> out(static_cast<size_t>(batch * model_.classes()));
        if (!model_.classify_inputs(images, out).ok() || !model_.replay_golden_vectors().ok()) failed = true;
      });
    }
  }
  return failed ? out_of_memory() : Status();
}

RpcResult<const ServedSignature*> Servable::signature(std::string_view name, std::string_view method) const {
  const std::string_view wanted = name.empty() ? default_signature_of(method) : name;
  const auto found = std::ranges::find(signatures_, wanted, [](const ServedSignature& signature) {
    return std::string_view(signature.info.name);
  });
  if (found == signatures_.end()) {
    return RpcStatus(RpcCode::kInvalidArgument,
                     fmt::format("Serving signature name: \"{}\" not found in signature def", wanted));
  }
  // Predict takes any signature, as TensorFlow Serving does, if its inputs are its own.
  const bool examples = found->input == InputForm::kExamples;
  if (found->info.method != method && (method != kPredictMethod || examples)) {
    return RpcStatus(RpcCode::kInvalidArgument, fmt::format("Expected {} signature method_name: {}. Was: {}",
                                                            method_word(method), method, found->info.method));
  }
  return &*found;
}

}  // namespace nacre
