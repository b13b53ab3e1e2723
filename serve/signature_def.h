#pragma once

#include "schemas/tensorflow/model_service.pb.h"
#include "serve/servable.h"

namespace nacre {

/// The signatures of a servable as GetModelMetadata and REST's metadata tell them. Tensors are named
/// `ALIAS:0`; nacre's graphs have no such names.
tensorflow::serving::SignatureDefMap signature_defs(const Servable& servable);

}  // namespace nacre
