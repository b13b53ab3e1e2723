#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "engine/status.h"
#include "runtime/model.h"

namespace nacre {

/// `[{"label": ..., "index": ..., "probability": ...}, ...]`
nlohmann::ordered_json prediction_json(std::span<const Prediction> predictions);

struct BatchOptions {
  std::string in;          ///< JSON Lines, an instance each
  std::string out;         ///< JSON Lines, an answer or an error each, in the same order
  std::string model_file;  ///< which `out` must not replace
  bool overwrite = false;
  size_t top_k = 0;             ///< classes in "top"; 0: without it
  size_t batch_size = 1;        ///< instances that are computed together
  uint64_t model_checksum = 0;  ///< bundle_checksum of the model
  std::string isa;              ///< the instruction set that computes: others differ in the last bits
};

/// CloudML's batch prediction. An instance is `{"image": {"b64": "..."}}` or `{"b64": "..."}`, and may hold a
/// "key" (text or a number) that comes back with its answer `{"prediction": [...]}` or `{"error": "..."}`;
/// empty lines are passed over. `out` appears when all is done. Until then the answers gather in
/// `out`.partial: another call with the same input, model, instruction set and options goes on where one
/// ended that was killed; one with others is refused, and so is a foreign file of that name. Shows progress
/// on stderr.
///
/// kBadData at the end when instances had errors, and when the input changes meanwhile; kInterrupted or
/// kTerminated after a signal; kIo; kLocked when another process writes `out`. Errors name the file.
Status predict_batch(const BatchOptions& options, const Model& model);

}  // namespace nacre
