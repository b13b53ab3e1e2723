#include "serve/grpc/model_service.h"

#include <memory>
#include <utility>
#include <vector>

#include "serve/grpc/model_spec.h"
#include "serve/model_config_proto.h"
#include "serve/signature_def.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;

RpcStatus invalid(std::string message) {
  return {RpcCode::kInvalidArgument, std::move(message)};
}

void fill_status(const RpcStatus& status, tfs::StatusProto& proto) {
  proto.set_error_code(static_cast<tensorflow::error::Code>(status.code()));
  proto.set_error_message(status.message());
}

}  // namespace

RpcStatus answer_metadata(const ServeCore& core, const tfs::GetModelMetadataRequest& request,
                          tfs::GetModelMetadataResponse& response) {
  if (!request.has_model_spec()) return invalid("Missing ModelSpec");
  if (request.metadata_field().empty())
    return invalid("GetModelMetadataRequest must specify at least one metadata_field");
  for (const std::string& field : request.metadata_field())
    if (field != "signature_def") return invalid("Metadata field " + field + " is not supported");
  NACRE_ASSIGN_OR_RETURN(const auto servable, find_servable(core, request));
  (*response.mutable_metadata())["signature_def"].PackFrom(signature_defs(*servable));
  fill_model_spec(*servable, "", *response.mutable_model_spec());
  return {};
}

RpcStatus answer_status(const ServeCore& core, const tfs::GetModelStatusRequest& request,
                        tfs::GetModelStatusResponse& response) {
  if (!request.has_model_spec()) return invalid("Missing ModelSpec");
  NACRE_ASSIGN_OR_RETURN(const std::vector<VersionStatus> versions,
                         core.models.status(selector_of(request.model_spec())));
  for (const VersionStatus& version : versions) {
    tfs::ModelVersionStatus& status = *response.add_model_version_status();
    status.set_version(version.version);
    status.set_state(static_cast<tfs::ModelVersionStatus::State>(version.state));
    fill_status(version.status, *status.mutable_status());
  }
  return {};
}

RpcStatus answer_reload(ServeCore& core, const tfs::ReloadConfigRequest& request, const CallContext& context,
                        tfs::ReloadConfigResponse& response) {
  NACRE_ASSIGN_OR_RETURN(std::vector<ModelConfig> configs, model_configs_of(request.config()));
  RpcStatus done = core.models.reload(std::move(configs), context);
  fill_status(done, *response.mutable_status());
  return done;
}

}  // namespace nacre
