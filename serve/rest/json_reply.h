#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/model_manager.h"
#include "serve/predictor.h"
#include "serve/servable.h"

namespace nacre {

/// Appends `text` as a JSON string. What is no UTF-8 becomes U+FFFD, byte by byte.
void append_json(std::string& out, std::string_view text);

/// Appends a number as TensorFlow Serving writes it: six digits where they suffice to read the same float
/// back, else nine; with ".0" where it would look like an integer; NaN, Infinity, -Infinity bare.
void append_json(std::string& out, float value);

/// {"error": "..."}
std::string error_json(std::string_view message);

/// How a predict reply is written.
enum class ReplyForm {
  kRows,     ///< {"predictions": [...]}: values of a single output, objects of several
  kColumns,  ///< {"outputs": ...}
  kScalar,   ///< {"outputs": ...} of one row, without its list
  kNamed,    ///< {"predictions": [{"prediction": [...]}]}: CloudML's, always objects
};
/// `keys`: PredictInputs::keys, for kNamed.
std::string predict_json(const Servable& servable, const ServedSignature& signature, const Scores& scores,
                         ReplyForm form, std::span<const std::string> keys = {});

/// {"results": [[["label", score], ...], ...]}
std::string classify_json(const Servable& servable, const Scores& scores);
/// {"results": [value, ...]}
std::string regress_json(const Scores& scores);

/// {"model_version_status": [...]}
std::string status_json(const std::vector<VersionStatus>& statuses);
/// {"model_spec": ..., "metadata": {"signature_def": ...}}
std::string metadata_json(const Servable& servable);

}  // namespace nacre
