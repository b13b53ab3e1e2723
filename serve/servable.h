#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bundle.h"
#include "runtime/model.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serve/batching.h"
#include "serve/compute_slots.h"
#include "serve/metrics.h"
#include "serve/rpc_status.h"

namespace nacre {

inline constexpr std::string_view kDefaultSignature = "serving_default";
inline constexpr std::string_view kPredictMethod = "tensorflow/serving/predict";
inline constexpr std::string_view kClassifyMethod = "tensorflow/serving/classify";
inline constexpr std::string_view kRegressMethod = "tensorflow/serving/regress";
/// The feature of a tf.Example that holds the encoded image.
inline constexpr std::string_view kImageFeature = "image";

/// Images of one call.
inline constexpr size_t kMaxImagesPerCall = 4096;

/// What a signature takes: encoded images, ready network input, or tf.Examples whose feature "image" is an
/// encoded image.
enum class InputForm : uint8_t { kEncoded, kFloat, kExamples };

/// What a signature gives of a row.
enum class OutputForm : uint8_t {
  kProbabilities,  ///< one output "prediction" [classes]
  kScores,         ///< one output [classes], before the softmax: a SavedModel's own signature
  kRanked,         ///< "classes" and "scores" [classes], best first
  kClassified,     ///< "classes" and "scores" [classes] in the order of the classes: classify's
  kValue,          ///< "outputs": the one number; only of models with one class
};

struct ServedSignature {
  Signature info;
  InputForm input = InputForm::kEncoded;
  OutputForm output = OutputForm::kProbabilities;
  float factor = 1;  ///< of InputForm::kFloat: what a request's numbers are multiplied by

  /// True for numbers that are 8-bit levels.
  [[nodiscard]] bool takes_levels() const { return info.inputs.front().dtype == "uint8"; }
  /// Makes a request's numbers network input.
  void scale(std::span<float> numbers) const;
};

/// The signatures of every model, in the order of their names: `serving_default` and `encoded_image` (encoded
/// images -> prediction), `float_image`, `labelled_image` (encoded images -> names and scores, best first),
/// `classify`; `regress` when there is one class. Of a SavedModel those that it has itself (`own`) come in
/// the place of these, and a name of its that is left out is nobody's.
std::vector<ServedSignature> served_signatures(const InputContract& contract, int64_t classes,
                                               const ImportedSignatures& own = {});

struct ServableOptions {
  int threads = 1;    ///< that one call computes with
  int64_t batch = 8;  ///< images of a call that go through the network together; not with batching
  ImageLimits limits{};
  std::optional<BatchingOptions> batching;
  /// Without batching, calls of one image each that go through the network together when threads are fewer
  /// than calls, and the model gains by it (Model::variable_bytes against Model::flops); a max_batch_size of
  /// 1: each by itself. As many as there are threads wait at most.
  BatchingOptions joined{.max_batch_size = 4, .max_enqueued_batches = kMaxImagesPerCall};
  bool warm_up = true;
};

/// A loaded version of a model: verified, warmed up, ready. Immutable and shared; what still uses one keeps
/// it alive after the manager has let it go. Thread-safe.
class Servable {
 public:
  /// Loads the version folder's one `*.nacre` bundle or its SavedModel into memory (never mapped: what is
  /// later truncated in place cannot kill the server), verifies structure, checksums and digest, replays the
  /// golden vectors, and runs the network until every slot has its buffers. Errors are `path: reason`:
  /// kBadData when the folder holds neither or several, those of open_bundle, import_saved_model and
  /// Model::replay_golden_vectors.
  static Result<std::shared_ptr<const Servable>> load(const std::string& name, int64_t version,
                                                      const std::string& folder,
                                                      const ServableOptions& options,
                                                      std::shared_ptr<ComputeSlots> slots,
                                                      ServeMetrics& metrics);

  [[nodiscard]] const std::string& name() const { return name_; }  ///< that it is served by
  [[nodiscard]] int64_t version() const { return version_; }
  /// Gives scores where gives_scores() says so: Predictor turns them into what a signature gives.
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] bool gives_scores() const { return gives_scores_; }
  [[nodiscard]] const InputContract& input() const { return model_.input(); }
  /// What the log should say of it beside that it is there.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// The class names, numbers where the model has no names; one for each class.
  [[nodiscard]] const std::vector<std::string>& labels() const { return labels_; }
  [[nodiscard]] const std::vector<ServedSignature>& signatures() const { return signatures_; }
  [[nodiscard]] const ImageLimits& limits() const { return limits_; }
  /// What puts a call of so many images together with others; nothing when it is computed by itself.
  [[nodiscard]] Batcher* batcher(size_t images) const {
    return images <= most_images_joined_ ? batcher_.get() : nullptr;
  }

  /// The signature `name` for a call of `method`; an empty name is that method's own: serving_default,
  /// classify, regress. kInvalidArgument: `Serving signature name: "x" not found in signature def`, or
  /// `Expected classification signature method_name: ... Was: ...`.
  [[nodiscard]] RpcResult<const ServedSignature*> signature(std::string_view name,
                                                            std::string_view method) const;

 private:
  Servable(std::string name, int64_t version, Model model, const ImportedSignatures& own,
           const ImageLimits& limits);
  Status warm_up(size_t lanes, int64_t batch) const;
  void make_batcher(const ServableOptions& options, std::shared_ptr<ComputeSlots> slots,
                    ServeMetrics& metrics);

  std::string name_;
  int64_t version_;
  std::vector<std::string> notes_;
  Model model_;
  bool gives_scores_;
  ImageLimits limits_;
  std::vector<std::string> labels_;
  std::vector<ServedSignature> signatures_;
  std::unique_ptr<Batcher> batcher_;
  size_t most_images_joined_ = 0;  ///< of a call
};

}  // namespace nacre
