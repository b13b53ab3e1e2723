#pragma once

#include "schemas/tensorflow/model_service.pb.h"
#include "serve/rpc_status.h"
#include "serve/serve_core.h"

namespace nacre {

// The calls about models, without a transport: as prediction.h.

RpcStatus answer_metadata(const ServeCore& core, const tensorflow::serving::GetModelMetadataRequest& request,
                          tensorflow::serving::GetModelMetadataResponse& response);

RpcStatus answer_status(const ServeCore& core, const tensorflow::serving::GetModelStatusRequest& request,
                        tensorflow::serving::GetModelStatusResponse& response);

/// Serves what the request's model_config_list says, and nothing else: blocks until that is loaded or has
/// failed, or the call is of no use any more.
RpcStatus answer_reload(ServeCore& core, const tensorflow::serving::ReloadConfigRequest& request,
                        const CallContext& context, tensorflow::serving::ReloadConfigResponse& response);

}  // namespace nacre
