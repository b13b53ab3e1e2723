#include <fmt/format.h>

#include "cli/convert.h"
#include "cli/open_model.h"

namespace nacre {
namespace {

Status usage(const std::string& reason) {
  return {StatusCode::kUsage, "convert --to saved_model: " + reason};
}

Status check_options(const ConvertOptions& options) {
  if (!options.labels.empty()) return usage("--labels has no meaning here: the bundle has its labels");
  if (!options.map.empty()) return usage("--map has no meaning here");
  if (!options.compat.empty() && options.compat != "reference") {
    return usage(fmt::format("--compat {}: known is reference", options.compat));
  }
  const std::string& signature = options.default_signature;
  if (!signature.empty() && signature != "image" && signature != "float") {
    return usage(fmt::format("--default-signature {}: known are image, float", signature));
  }
  if (!options.compat.empty() && signature == "float") {
    return usage("--compat reference takes encoded images: leave --default-signature float out");
  }
  return {};
}

}  // namespace

Status convert_to_saved_model(const Session& session, const ConvertOptions& options) {
  NACRE_RETURN_IF_ERROR(check_options(options));
  OpenOptions open;
  open.model = options.model;
  open.which = RunCheckpoint::kLatest;
  NACRE_ASSIGN_OR_RETURN(const OpenedModel opened, open_model(session, options.in, open));
  return {StatusCode::kUnsupported, opened.path + ": SavedModels are not written yet"};
}

}  // namespace nacre
