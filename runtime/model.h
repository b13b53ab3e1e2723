#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "image/decode.h"
#include "serialize/read_options.h"

/// Marks what the shared library of the runtime shows; all else in it is hidden.
#define NACRE_EXPORT __attribute__((visibility("default")))

namespace nacre {

struct Bundle;
class Registry;

struct ModelOptions {
  int64_t batch = 1;       ///< images that go through the network together, at least 1
  int threads = 1;         ///< that one call computes with, at least 1; the answers do not depend on it
  bool reference = false;  ///< run the layers' readable implementations instead of the fast ones
  ImageLimits limits{};    ///< on what an encoded image may make the decoder do
};

/// A class with its probability.
struct Prediction {
  std::string label;  ///< the class's name; its number when the model has no names
  size_t index = 0;   ///< of the class, from 0
  float probability = 0;
};

/// What the model says now of a golden vector, compared with what it said at export.
struct GoldenReport {
  std::string name;
  float max_difference = 0;  ///< largest absolute difference of a class's probability
};

/// A loaded model, images in and probabilities out: the one way of predicting, for the commands and for
/// programs that link the library.
///
/// Immutable. Any thread may call any member function at any time, without a lock of its own; copies are
/// cheap and share the weights. A call computes in buffers that no other call uses: there are as many sets
/// of them as calls have run at the same time, and of those that lie idle at most one for each CPU is kept.
///
/// The bits of an answer depend on its image, the model and the CPU's instruction set alone: not on the other
/// images of a call, ModelOptions::batch, threads, or what else runs.
class NACRE_EXPORT Model {
 public:
  /// The probabilities [classes] of an image, which sum to 1, or why it has none.
  using Answer = Result<std::vector<float>>;

  /// Loads a bundle file whose layers are those that nacre brings along. Errors are `path: reason`: those of
  /// read_bundle (serialize/bundle_file.h); kCorrupt when graph, weights and labels do not fit together,
  /// kLimit when memory does not suffice, kUsage for options out of range.
  static Result<Model> load(const std::string& path, const ModelOptions& options = {},
                            const ReadOptions& reading = {});

  /// The same for a bundle in memory and layers of one's own (needs the whole library, nacre::nacre). Errors
  /// as plan_prediction (runtime/prediction_bundle.h), without a file name; kUsage for options out of range.
  static Result<Model> make(std::shared_ptr<const Bundle> bundle, Registry registry,
                            const ModelOptions& options = {});

  /// An answer for each encoded image (JPEG or PNG, told apart by content), in order; a bad one does not
  /// hinder the others. Errors carry no file name; they are those of decode_image, kLimit when memory
  /// runs out, and kDiverged for an answer that is not finite.
  [[nodiscard]] std::vector<Answer> classify(std::span<const std::span<const std::byte>> encoded) const;
  /// The same for files; errors are `path: reason`, kIo too.
  [[nodiscard]] std::vector<Answer> classify_files(std::span<const std::string> paths) const;
  /// The same for network input as it is, row-major floats [n, height, width, channels] of input(), scaled by
  /// input().scale already. Writes [n, classes] to `probabilities`. kUsage when the sizes do not fit
  /// together.
  Status classify_inputs(std::span<const float> inputs, std::span<float> probabilities) const;

  /// The k classes (all, when there are fewer) of the largest `probabilities` [classes], best first; of
  /// equals the one with the lower index. Of another number of probabilities: none.
  [[nodiscard]] std::vector<Prediction> best(std::span<const float> probabilities, size_t k = 1) const;

  /// Classifies the pictures that the bundle brings along and compares with what the model said of them at
  /// export: kCorrupt when one cannot be decoded, or its answer differs by more than `tolerance` anywhere or
  /// is not finite (the message names it and says by how much).
  [[nodiscard]] Result<std::vector<GoldenReport>> replay_golden_vectors(float tolerance = 1e-5F) const;

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] int64_t classes() const;
  /// Operations of one image, a multiply-add counting 2.
  [[nodiscard]] int64_t flops() const;
  /// The bytes of the variables, which are read once for the images that go through the network together.
  [[nodiscard]] int64_t variable_bytes() const;
  /// How images become network input, and in `labels` the names of the classes. Lives as long as a copy of
  /// the model.
  [[nodiscard]] const InputContract& input() const;

 private:
  struct State;
  class Lane;
  explicit Model(std::shared_ptr<const State> state);
  template <typename Load>
  std::vector<Answer> classify_loaded(size_t count, const Load& load) const;

  std::shared_ptr<const State> state_;
};

}  // namespace nacre
