#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/bundle.h"
#include "engine/executor.h"
#include "image/decode.h"

namespace nacre {

struct ClassifierOptions {
  int64_t batch = 1;  ///< images that run through the network together
  int threads = 1;
  ImageLimits limits;
};

/// Images in, probabilities out: the one way of predicting, for `predict`, for making golden vectors and for
/// replaying them. Not for two threads at once: each gets its clone().
class Classifier {
 public:
  /// The probabilities of all classes, or why the image has none.
  using Answer = Result<std::vector<float>>;

  /// `model.graph` is one for prediction, [N, classes] at its end. Session and model must outlive the
  /// classifier and its clones. Errors are those of Plan; kBadData when the number of labels is not that of
  /// the outputs (no labels are all right).
  static Result<Classifier> make(const Session& session, const Bundle& model,
                                 const ClassifierOptions& options);

  /// The same plan and variables with buffers of its own.
  [[nodiscard]] Classifier clone() const;

  /// An answer for each encoded image (JPEG or PNG), in order; a bad one does not hinder the others. Errors
  /// carry no file name. The bits of an answer depend on its image alone.
  std::vector<Answer> classify(std::span<const std::span<const std::byte>> encoded);
  /// The same for files; errors are `path: reason`.
  std::vector<Answer> classify_files(std::span<const std::string> paths);
  /// Network input [n, H, W, C], n <= batch, as it is; the result [n, classes] is valid until the next call.
  TensorView<const float> run(TensorView<const float> input);

  [[nodiscard]] int64_t classes() const;
  [[nodiscard]] const InputContract& contract() const;
  [[nodiscard]] const Plan& plan() const;

 private:
  struct Shared;
  explicit Classifier(std::shared_ptr<const Shared> shared);
  template <typename Load>
  std::vector<Answer> classify_loaded(size_t count, const Load& load);

  std::shared_ptr<const Shared> shared_;
  std::unique_ptr<Executor> executor_;
  Tensor input_;
};

/// What the model says now of a golden vector, compared with what it said at export.
struct GoldenReport {
  std::string name;
  float max_difference = 0;  ///< largest absolute difference of a class's probability
};
/// Replays every golden vector of `model`: kCorrupt when one cannot be decoded, or its answer differs by more
/// than `tolerance` anywhere or is not finite (the message names it and says by how much).
Result<std::vector<GoldenReport>> replay_golden_vectors(Classifier& classifier,
                                                        std::span<const GoldenVector> golden,
                                                        float tolerance = 1e-5F);

}  // namespace nacre
