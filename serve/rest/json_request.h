#pragma once

#include <simdjson.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/predictor.h"
#include "serve/rpc_status.h"
#include "serve/servable.h"

namespace nacre {

/// Objects and lists in each other; more is an error.
inline constexpr size_t kMaxJsonDepth = 64;

/// What reading a text may take at most, beside the text: simdjson's index, which takes up to 13 times as
/// much where numbers stand close together, and the values.
size_t json_memory(std::string_view text);

/// A request's JSON. Its elements live as long as it does.
class JsonDocument {
 public:
  /// Parses an object. NaN, Infinity and -Infinity count as numbers. kInvalidArgument in TensorFlow Serving's
  /// words: `JSON Parse error: The document is empty`, `JSON Parse error: Invalid value. ...`, and when it is
  /// no object.
  RpcStatus parse(std::string_view text);
  [[nodiscard]] simdjson::dom::object root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::object root_;
};

/// `signature_name`, or nothing. kInvalidArgument `'signature_name' key must be a string value.`
RpcResult<std::string> signature_name_of(const simdjson::dom::object& root);

/// The images of a predict request.
struct PredictInputs {
  bool rows = true;     ///< `instances`; else `inputs`
  bool scalar = false;  ///< one value in place of a list of them: `inputs` of a single image
  size_t count = 0;
  std::vector<std::vector<std::byte>> encoded;  ///< for InputForm::kEncoded
  std::vector<float> floats;                    ///< for InputForm::kFloat, [count, height, width, channels]
  /// CloudML's form: of each row, the JSON text of its "key", which comes back with its answer; empty where
  /// it has none. Nothing when no row has one.
  std::vector<std::string> keys;
};

/// Reads `instances` or `inputs` as the signature takes them. `cloud`: CloudML's form, which has `instances`
/// alone, and may have keys. Errors are kInvalidArgument in TensorFlow Serving's words.
RpcResult<PredictInputs> read_predict(const simdjson::dom::object& root, const ServedSignature& signature,
                                      bool cloud);

/// The images of `examples`, with those of `context` where an example has none.
RpcResult<std::vector<std::vector<std::byte>>> read_examples(const simdjson::dom::object& root);

}  // namespace nacre
