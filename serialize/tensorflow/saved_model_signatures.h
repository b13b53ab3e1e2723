#pragma once

#include <string>
#include <vector>

#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"
#include "serialize/tensorflow/saved_model_import.h"

namespace nacre {

/// A model as one signature of a SavedModel computes it.
struct SignatureModel {
  ImportedModel model;
  const tensorflow::SignatureDef* definition = nullptr;  ///< borrowed of the MetaGraph
  bool decodes = false;                                  ///< takes encoded images, not numbers
  double factor = 1;                                     ///< up to the network's input
};

/// The names of the signatures, sorted; without what is no signature to clients (loaders run it), and of a
/// SavedModel that nacre wrote (`by_nacre`) only those whose method is predict.
std::vector<std::string> predicting_signatures(const tensorflow::MetaGraphDef& meta, bool by_nacre);

/// The signature of `other`, when what it gives is what nacre predicts with the model of `chosen`, with the
/// softmax or before it: the same network, on input that is read in the same way. kUnsupported with the
/// reason when it is not, and for an input or output of another form than ImportedSignature says.
Result<ImportedSignature> answered_signature(const SignatureModel& chosen, const SignatureModel& other);

}  // namespace nacre
