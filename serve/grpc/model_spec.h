#pragma once

#include <memory>
#include <string_view>

#include "schemas/tensorflow/predict.pb.h"
#include "serve/serve_core.h"

namespace nacre {

/// Which servable a request means.
ModelSelector selector_of(const tensorflow::serving::ModelSpec& spec);

/// The servable that a request means; kInvalidArgument when it names no model.
template <typename Request>
RpcResult<std::shared_ptr<const Servable>> find_servable(const ServeCore& core, const Request& request) {
  if (!request.has_model_spec()) return RpcStatus(RpcCode::kInvalidArgument, "Missing ModelSpec");
  if (request.model_spec().name().empty())
    return RpcStatus(RpcCode::kInvalidArgument, "ModelSpec has no name specified.");
  return core.models.find(selector_of(request.model_spec()));
}

/// Says in a reply what answered.
void fill_model_spec(const Servable& servable, std::string_view signature,
                     tensorflow::serving::ModelSpec& spec);

}  // namespace nacre
