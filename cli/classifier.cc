#include "cli/classifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <utility>

#include "engine/parallel.h"

namespace nacre {

struct Classifier::Shared {
  Plan plan;
  const Bundle* model;
  ClassifierOptions options;
};

Classifier::Classifier(std::shared_ptr<const Shared> shared)
    : shared_(std::move(shared)),
      executor_(std::make_unique<Executor>(shared_->plan)),
      input_(shared_->plan.input_shape()) {}

Result<Classifier> Classifier::make(const Session& session, const Bundle& model,
                                    const ClassifierOptions& options) {
  const InputContract& contract = model.contract;
  const Shape row{contract.height, contract.width, contract.channels};
  NACRE_ASSIGN_OR_RETURN(Plan plan,
                         Plan::make(model.graph, session.registry, row,
                                    session.plan_options(Mode::kInference, options.batch, options.threads)));
  const Shape output = plan.output_shape();
  const auto labels = static_cast<int64_t>(contract.labels.size());
  if (output.rank() != 2 || (labels != 0 && labels != output[1])) {
    return Status(StatusCode::kBadData,
                  fmt::format("the network's output is {}, with {} labels", output.to_string(), labels));
  }
  Classifier classifier(std::make_shared<const Shared>(Shared{std::move(plan), &model, options}));
  NACRE_RETURN_IF_ERROR(classifier.executor_->bind(model.variables));
  return classifier;
}

Classifier Classifier::clone() const {
  Classifier copy(shared_);
  // The same variables were bound before, so this cannot fail.
  static_cast<void>(copy.executor_->bind(shared_->model->variables));
  return copy;
}

int64_t Classifier::classes() const {
  return shared_->plan.output_shape()[1];
}

const InputContract& Classifier::contract() const {
  return shared_->model->contract;
}

const Plan& Classifier::plan() const {
  return shared_->plan;
}

TensorView<const float> Classifier::run(TensorView<const float> input) {
  StepContext context;
  context.threads = shared_->options.threads;
  return executor_->forward(input, context);
}

template <typename Load>
std::vector<Classifier::Answer> Classifier::classify_loaded(size_t count, const Load& load) {
  const auto batch = static_cast<size_t>(shared_->options.batch);
  const auto row_floats = static_cast<size_t>(input_.shape().elements_per_row());
  const auto outputs = static_cast<size_t>(classes());
  std::vector<Answer> answers;
  answers.reserve(count);
  for (size_t first = 0; first < count; first += batch) {
    const size_t n = std::min(batch, count - first);
    std::vector<Status> loaded(n);
    parallel_for(static_cast<int64_t>(n), shared_->options.threads, [&](int64_t i, int /*worker*/) {
      const auto row = static_cast<size_t>(i);
      try {
        loaded[row] = load(first + row, input_.data() + row * row_floats);
      } catch (const std::bad_alloc&) {
        loaded[row] = Status(StatusCode::kLimit, "out of memory");
      }
      if (!loaded[row].ok()) std::fill_n(input_.data() + row * row_floats, row_floats, 0.0F);
    });
    const TensorView<const float> output =
        run({input_.data(), input_.shape().with_batch(static_cast<int64_t>(n))});
    for (size_t row = 0; row < n; ++row) {
      if (loaded[row].ok()) {
        const float* probabilities = output.data + row * outputs;
        answers.emplace_back(std::vector<float>(probabilities, probabilities + outputs));
      } else {
        answers.emplace_back(loaded[row]);
      }
    }
  }
  return answers;
}

std::vector<Classifier::Answer> Classifier::classify(std::span<const std::span<const std::byte>> encoded) {
  return classify_loaded(encoded.size(), [&](size_t i, float* out) -> Status {
    NACRE_ASSIGN_OR_RETURN(const Image image, decode_image(encoded[i], contract(), shared_->options.limits));
    return image_to_input(image, contract(), out);
  });
}

std::vector<Classifier::Answer> Classifier::classify_files(std::span<const std::string> paths) {
  return classify_loaded(paths.size(), [&](size_t i, float* out) {
    return load_image(paths[i], contract(), out, shared_->options.limits);
  });
}

Result<std::vector<GoldenReport>> replay_golden_vectors(Classifier& classifier,
                                                        std::span<const GoldenVector> golden,
                                                        float tolerance) {
  std::vector<std::span<const std::byte>> images;
  for (const GoldenVector& vector : golden) images.emplace_back(vector.image);
  const std::vector<Classifier::Answer> answers = classifier.classify(images);
  std::vector<GoldenReport> reports;
  for (size_t i = 0; i < golden.size(); ++i) {
    const std::string place = fmt::format("golden vector {:?}", golden[i].name);
    const auto corrupt = [&](const std::string& reason) {
      return Status(StatusCode::kCorrupt, place + ": " + reason);
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
