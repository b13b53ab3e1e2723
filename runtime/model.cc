#include "runtime/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <utility>

#include "engine/executor.h"
#include "engine/finite.h"
#include "engine/parallel.h"
#include "layers/registry.h"
#include "runtime/prediction_bundle.h"

namespace nacre {
namespace {

/// The buffers of one call.
struct Buffers {
  explicit Buffers(const Plan& plan) : executor(plan), input(plan.input_shape()) {}
  Executor executor;
  Tensor input;
};

Status out_of_memory() {
  return {StatusCode::kLimit, "out of memory"};
}

}  // namespace

struct Model::State {
  State(std::shared_ptr<const Bundle> model, Registry ops, const ModelOptions& chosen)
      : bundle(std::move(model)), registry(std::move(ops)), options(chosen) {
    idle.reserve(static_cast<size_t>(available_threads()));
  }

  std::shared_ptr<const Bundle> bundle;
  Registry registry;
  ModelOptions options;
  Plan plan;
  std::optional<PackedVariables> packed;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Buffers>> idle;  // guarded by mutex, never beyond what is reserved
};

/// Buffers that a call has for itself: idle ones, or new ones.
class Model::Lane {
 public:
  explicit Lane(const State& state) : state_(state) {
    {
      const std::lock_guard lock(state.mutex);
      if (!state.idle.empty()) {
        buffers_ = std::move(state.idle.back());
        state.idle.pop_back();
      }
    }
    if (buffers_ != nullptr) return;
    buffers_ = std::make_unique<Buffers>(state.plan);
    // plan_prediction has checked the variables, so this cannot fail.
    static_cast<void>(buffers_->executor.bind(state.bundle->variables, &*state.packed));
  }
  ~Lane() {
    const std::lock_guard lock(state_.mutex);
    if (state_.idle.size() < state_.idle.capacity()) state_.idle.push_back(std::move(buffers_));
  }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] float* input() { return buffers_->input.data(); }
  /// The probabilities [n, classes] of `input` [n, H, W, C], n <= batch; valid until the next call.
  const float* run(const float* input, size_t n) {
    StepContext context;
    context.threads = state_.options.threads;
    const Shape shape = state_.plan.input_shape().with_batch(static_cast<int64_t>(n));
    return buffers_->executor.forward({input, shape}, context).data;
  }

 private:
  const State& state_;
  std::unique_ptr<Buffers> buffers_;
};

Model::Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<Model> Model::load(const std::string& path, const ModelOptions& options, const ReadOptions& reading) {
  try {
    Registry registry = builtin_ops();
    NACRE_ASSIGN_OR_RETURN(Bundle bundle, open_bundle(path, registry, reading));
    auto made = make(std::make_shared<const Bundle>(std::move(bundle)), std::move(registry), options);
    if (!made.ok()) return made.status().at(path);
    return made;
  } catch (const std::bad_alloc&) {
    return out_of_memory().at(path);
  }
}

Result<Model> Model::make(std::shared_ptr<const Bundle> bundle, Registry registry,
                          const ModelOptions& options) {
  if (options.batch < 1 || options.threads < 1) {
    return Status(StatusCode::kUsage,
                  fmt::format("a batch of {} with {} threads, expected at least 1 of each", options.batch,
                              options.threads));
  }
  try {
    const auto state = std::make_shared<State>(std::move(bundle), std::move(registry), options);
    PlanOptions planning;
    planning.batch = options.batch;
    planning.threads = options.threads;
    planning.reference = options.reference;
    NACRE_ASSIGN_OR_RETURN(state->plan, plan_prediction(*state->bundle, state->registry, planning));
    state->packed.emplace(state->plan, state->bundle->variables, options.threads);
    // The first call shall not pay for its buffers, nor find that there is no memory for them.
    const Lane first(*state);
    return Model(state);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

const std::string& Model::name() const {
  return state_->bundle->name;
}

int64_t Model::classes() const {
  return state_->plan.output_shape()[1];
}

int64_t Model::flops() const {
  int64_t sum = 0;
  for (const NodeSummary& node : state_->plan.nodes()) sum += node.flops_per_row;
  return sum;
}

int64_t Model::variable_bytes() const {
  int64_t sum = 0;
  for (const NodeSummary& node : state_->plan.nodes()) sum += node.parameters;
  return sum * static_cast<int64_t>(sizeof(float));
}

const InputContract& Model::input() const {
  return state_->bundle->contract;
}

template <typename Load>
std::vector<Model::Answer> Model::classify_loaded(size_t count, const Load& load) const {
  const ModelOptions& options = state_->options;
  const auto batch = static_cast<size_t>(options.batch);
  const auto row_floats = static_cast<size_t>(state_->plan.input_shape().elements_per_row());
  const auto outputs = static_cast<size_t>(classes());
  std::vector<Answer> answers;
  try {
    answers.reserve(count);
    Lane lane(*state_);
    for (size_t first = 0; first < count; first += batch) {
      const size_t n = std::min(batch, count - first);
      std::vector<Status> loaded(n);
      parallel_for(static_cast<int64_t>(n), options.threads, [&](int64_t i, int /*worker*/) {
        const auto row = static_cast<size_t>(i);
        float* out = lane.input() + row * row_floats;
        try {
          loaded[row] = load(first + row, out);
        } catch (const std::bad_alloc&) {
          loaded[row] = out_of_memory();
        }
        if (!loaded[row].ok()) std::fill_n(out, row_floats, 0.0F);
      });
      const float* output = lane.run(lane.input(), n);
      for (size_t row = 0; row < n; ++row) {
        const float* probabilities = output + row * outputs;
        if (!loaded[row].ok()) {
          answers.emplace_back(std::move(loaded[row]));
        } else if (all_finite(static_cast<int64_t>(outputs), probabilities)) {
          answers.emplace_back(std::vector<float>(probabilities, probabilities + outputs));
        } else {
          answers.emplace_back(Status(StatusCode::kDiverged, "the network's answer is not finite"));
        }
      }
    }
  } catch (const std::bad_alloc&) {
    answers.resize(count, out_of_memory());
  }
  return answers;
}

std::vector<Model::Answer> Model::classify(std::span<const std::span<const std::byte>> encoded) const {
  return classify_loaded(encoded.size(), [&](size_t i, float* out) -> Status {
    NACRE_ASSIGN_OR_RETURN(const Image image, decode_image(encoded[i], input(), state_->options.limits));
    return image_to_input(image, input(), out);
  });
}

std::vector<Model::Answer> Model::classify_files(std::span<const std::string> paths) const {
  std::vector<Answer> answers = classify_loaded(paths.size(), [&](size_t i, float* out) {
    try {
      return load_image(paths[i], input(), out, state_->options.limits);
    } catch (const std::bad_alloc&) {
      return out_of_memory().at(paths[i]);
    }
  });
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].status().code() == StatusCode::kDiverged) answers[i] = answers[i].status().at(paths[i]);
  }
  return answers;
}

Status Model::classify_inputs(std::span<const float> inputs, std::span<float> probabilities) const {
  const auto row_floats = static_cast<size_t>(state_->plan.input_shape().elements_per_row());
  const auto outputs = static_cast<size_t>(classes());
  const size_t count = inputs.size() / row_floats;
  if (count * row_floats != inputs.size() || probabilities.size() / outputs != count ||
      probabilities.size() % outputs != 0) {
    return {StatusCode::kUsage,
            fmt::format("{} floats of input and {} of probabilities, expected {} and {} for each image",
                        inputs.size(), probabilities.size(), row_floats, outputs)};
  }
  try {
    const auto batch = static_cast<size_t>(state_->options.batch);
    Lane lane(*state_);
    for (size_t first = 0; first < count; first += batch) {
      const size_t n = std::min(batch, count - first);
      const float* output = lane.run(inputs.data() + first * row_floats, n);
      std::copy_n(output, n * outputs, probabilities.begin() + static_cast<std::ptrdiff_t>(first * outputs));
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  return {};
}

std::vector<Prediction> Model::best(std::span<const float> probabilities, size_t k) const {
  if (probabilities.size() != static_cast<size_t>(classes())) return {};
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  order.resize(std::min(order.size(), k));
  const std::vector<std::string>& labels = input().labels;
  std::vector<Prediction> best;
  for (const size_t i : order) {
    best.push_back({labels.empty() ? std::to_string(i) : labels[i], i, probabilities[i]});
  }
  return best;
}

Result<std::vector<GoldenReport>> Model::replay_golden_vectors(float tolerance) const {
  const std::vector<GoldenVector>& golden = state_->bundle->golden;
  std::vector<std::span<const std::byte>> images;
  for (const GoldenVector& vector : golden) images.emplace_back(vector.image);
  const std::vector<Answer> answers = classify(images);
  std::vector<GoldenReport> reports;
  for (size_t i = 0; i < golden.size(); ++i) {
    const auto corrupt = [&](const std::string& reason) {
      return Status(StatusCode::kCorrupt, fmt::format("golden vector {:?}: {}", golden[i].name, reason));
    };
    if (!answers[i].ok()) return corrupt(answers[i].status().message());
    const std::vector<float>& expected = golden[i].prediction;
    const std::vector<float>& found = *answers[i];
    if (expected.size() != found.size()) {
      return corrupt(fmt::format("holds {} probabilities for {} classes", expected.size(), found.size()));
    }
    GoldenReport report{golden[i].name, 0};
    for (size_t k = 0; k < found.size(); ++k) {
      const float difference = std::abs(found[k] - expected[k]);
      // Written so that NaN fails.
      if (!(difference <= tolerance)) {
        return corrupt(fmt::format("class {} has probability {}, expected {} (tolerance {})", k, found[k],
                                   expected[k], tolerance));
      }
      report.max_difference = std::max(report.max_difference, difference);
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace nacre
