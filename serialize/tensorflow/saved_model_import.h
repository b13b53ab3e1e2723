#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/graph.h"
#include "engine/input_contract.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "engine/variable_store.h"

namespace nacre {

/// What the graph of a SavedModel may leave open.
struct ImportOptions {
  /// Empty: of a SavedModel that nacre wrote kEncodedSignature, which tells the whole contract; of another
  /// serving_default, or the only one.
  std::string signature;
  int64_t height = 0;  ///< of the images, in pixels; 0: as the graph says
  int64_t width = 0;
  double scale = 0;  ///< from 8-bit levels to what a signature of numbers takes; 0: see ImportedModel
  bool allow_nonfinite = false;  ///< accept weights that are NaN or infinite (else kDiverged)
  bool tell_signatures = false;  ///< fill ImportedModel::signatures, which reads each of them
};

/// A signature that gives the probabilities which the model predicts: one input, one output [N, classes].
struct ImportedSignature {
  std::string name;
  std::string input;   ///< as clients call it
  std::string output;  ///< as clients call it
  /// Of the input: "string" is [N], encoded images; "float32" and "uint8" are [N, height, width, channels].
  std::string dtype;
  double factor = 1;  ///< what numbers of the input are multiplied by to be what the network takes
  /// Gives what the network does before the softmax that nacre predicts with, not probabilities.
  bool scores = false;

  [[nodiscard]] bool operator==(const ImportedSignature&) const = default;
};

/// The signatures of a SavedModel, both in the order of their names. Those that nacre wrote itself and that
/// do not predict (classify) are in neither.
struct ImportedSignatures {
  struct LeftOut {
    std::string name;
    std::string reason;  ///< why the model's predictions are no answers to it
  };
  std::vector<ImportedSignature> answered;
  std::vector<LeftOut> left_out;
};

/// A classifier that was read from a SavedModel.
struct ImportedModel {
  Graph graph;  ///< ends in scores or in a Softmax
  VariableStore variables;
  InputContract contract;  ///< without labels
  std::string signature;
  /// False when the signature takes numbers and nothing says of which range: `contract.scale` is then for
  /// numbers from 0 to 1.
  bool scale_told = true;
  bool marked = false;  ///< nacre wrote it, and every file is the one that was written
  /// nacre wrote saved_model.pb with a mark that is not there: taken away, or not copied yet.
  bool lacks_mark = false;
  std::vector<std::string> assets;  ///< files that the graph names, in FOLDER/assets; any may be missing
  /// The answers that nacre recorded (read_warmup_records), when the signature is kEncodedSignature.
  std::vector<GoldenVector> golden;
  ImportedSignatures signatures;  ///< empty unless ImportOptions::tell_signatures
};

/// Reads FOLDER/saved_model.pb and FOLDER/variables and recognises nacre's layers and an input contract in
/// what the signature computes (docs/tensorflow.md says which forms). Nothing of the graph is ever executed.
/// Of a SavedModel that nacre wrote, every file is checked first (check_saved_model_mark).
/// Errors are `path: reason`, naming the node: kUnsupported for ops, settings and forms that nacre lacks;
/// kBadData when the signature is not there, or the size of the images is not told (or told otherwise);
/// kCorrupt, kLimit and kIo as read_saved_model, FlatGraph::make, ConstantFolder, TensorBundle,
/// check_saved_model_mark and read_warmup_records.
Result<ImportedModel> import_saved_model(const std::string& folder, const ImportOptions& options,
                                         const Registry& registry);

/// The class names in FOLDER/assets/labels.txt as they are written there; empty when there is no such file.
/// kCorrupt when it lies outside the folder (check_within_folder).
Result<std::string> read_labels_asset(const std::string& folder);

}  // namespace nacre
