#include "serve/grpc/model_spec.h"

#include <string>

namespace nacre {

ModelSelector selector_of(const tensorflow::serving::ModelSpec& spec) {
  ModelSelector selector;
  selector.name = spec.name();
  if (spec.has_version()) selector.version = spec.version().value();
  selector.label = spec.version_label();
  return selector;
}

void fill_model_spec(const Servable& servable, std::string_view signature,
                     tensorflow::serving::ModelSpec& spec) {
  spec.set_name(servable.name());
  spec.mutable_version()->set_value(servable.version());
  spec.set_signature_name(std::string(signature));
}

}  // namespace nacre
