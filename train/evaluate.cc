#include "train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/parallel.h"
#include "engine/shape_text.h"
#include "train/loader.h"
#include "train/loss.h"

namespace nacre {
namespace {

/// The first row of [N, classes] with a number that is not finite; -1 when there is none.
int64_t row_not_finite(TensorView<const float> scores) {
  const float* end = scores.data + scores.size();
  const float* found = std::find_if_not(scores.data, end, [](float x) { return std::isfinite(x); });
  return found == end ? -1 : (found - scores.data) / scores.shape.elements_per_row();
}

Result<Evaluation> evaluate_batches(Executor& executor, const Plan& plan,
                                    const std::shared_ptr<const Dataset>& data, int threads,
                                    bool probabilities) {
  const int64_t classes = plan.output_shape().elements_per_row();
  LoaderOptions options;
  options.batch_size = plan.options().batch;
  options.shuffle = false;
  options.end_epoch = 1;
  options.workers = loader_workers(*data, threads);
  options.threads = threads;
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<BatchLoader> loader, BatchLoader::make(data, options));

  Evaluation result;
  result.confusion = Confusion(static_cast<size_t>(classes));
  StepContext context;
  context.threads = threads;
  Tensor logs(plan.output_shape());
  double loss_sum = 0;
  while (true) {
    NACRE_ASSIGN_OR_RETURN(const Batch* batch, loader->next());
    if (batch == nullptr) break;
    TensorView<const float> output =
        executor.forward({batch->images, plan.input_shape().with_batch(batch->n)}, context);
    if (probabilities) {
      // log(p) are logits of the same softmax; a probability that underflowed counts as the smallest float.
      for (int64_t i = 0; i < output.size(); ++i) {
        logs.data()[i] = std::isnan(output.data[i])
                             ? output.data[i]
                             : std::log(std::max(output.data[i], std::numeric_limits<float>::min()));
      }
      output = {logs.data(), output.shape};
    }
    if (const int64_t row = row_not_finite(output); row >= 0) {
      return Status(StatusCode::kDiverged, fmt::format("the network's scores for {} are not finite",
                                                       data->name(batch->samples[static_cast<size_t>(row)])));
    }
    const LossResult score =
        softmax_cross_entropy(output, {batch->labels, static_cast<size_t>(batch->n)}, TensorView<float>{});
    loss_sum += score.loss * static_cast<double>(batch->n);
    result.correct += score.correct;
    result.count += batch->n;
    for (int64_t row = 0; row < batch->n; ++row) {
      const float* z = output.data + row * classes;
      const auto predicted = static_cast<size_t>(std::max_element(z, z + classes) - z);
      result.confusion.add(static_cast<size_t>(batch->labels[row]), predicted);
    }
  }
  result.loss = loss_sum / static_cast<double>(result.count);
  return result;
}

}  // namespace

Result<Evaluation> evaluate(Executor& executor, const Plan& plan, const std::shared_ptr<const Dataset>& data,
                            int threads, bool probabilities) {
  const int64_t classes = plan.output_shape().elements_per_row();
  if (static_cast<size_t>(classes) != data->labels().size()) {
    return Status(StatusCode::kBadData, fmt::format("the data has {} classes, but the model tells {} apart",
                                                    data->labels().size(), classes));
  }
  if (plan.output_shape().rank() != 2) {
    return Status(StatusCode::kBadData, fmt::format("the model's output is {}, expected [N, {}]",
                                                    batch_shape(plan.output_shape()), classes));
  }
  if (plan.input_shape().elements_per_row() != data->image_floats()) {
    return Status(StatusCode::kBadData,
                  fmt::format("the data's images have {} numbers, but the model takes {}",
                              data->image_floats(), plan.input_shape().elements_per_row()));
  }
  Result<Evaluation> result = Evaluation{};
  with_team(threads, [&] { result = evaluate_batches(executor, plan, data, threads, probabilities); });
  return result;
}

}  // namespace nacre
