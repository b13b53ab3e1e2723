#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/input_contract.h"
#include "engine/variable_store.h"

namespace nacre {

/// What a signature takes or gives.
struct SignatureTensor {
  std::string name;            ///< "image", "prediction"
  std::string dtype;           ///< "string" or "float32"; the server knows "uint8", too
  std::vector<int64_t> shape;  ///< -1 stands for any extent

  [[nodiscard]] bool operator==(const SignatureTensor&) const = default;
};

/// A way of calling the model, as TensorFlow Serving's clients know it.
struct Signature {
  std::string name;    ///< "serving_default"
  std::string method;  ///< "tensorflow/serving/predict"
  std::vector<SignatureTensor> inputs;
  std::vector<SignatureTensor> outputs;

  [[nodiscard]] bool operator==(const Signature&) const = default;
};

/// An encoded, generated picture and what the model said of it at export: replayed by `verify` and by the
/// server, so that a model whose answers have changed is noticed.
struct GoldenVector {
  std::string name;
  std::vector<std::byte> image;   ///< encoded PNG or JPEG
  std::vector<float> prediction;  ///< [classes]

  [[nodiscard]] bool operator==(const GoldenVector&) const = default;
};

/// What a bundle file holds: the prediction graph and its weights, and all that is needed to use them.
struct Bundle {
  std::string name;  ///< of the model
  Graph graph;       ///< for prediction: ends in a softmax [N, classes]
  VariableStore variables;
  InputContract contract;  ///< with the labels
  std::vector<Signature> signatures;
  std::vector<GoldenVector> golden;
  /// Where it comes from: "recipe" (JSON text), "data_digest", "step", "epoch", "metrics" (JSON text),
  /// "nacre_version".
  std::map<std::string, std::string> provenance;
};

}  // namespace nacre
