#pragma once

#include <string>
#include <utility>

#include "tests/serve/serve_fixture.h"

namespace nacre {

/// A test of the model "m".
class ModelManagerTest : public ServeTest {
 protected:
  /// "3 AVAILABLE OK, 2 END DATA_LOSS"
  [[nodiscard]] std::string states(const std::string& name = "m") const {
    const auto statuses = core_->models.status({name, std::nullopt, ""});
    if (!statuses.ok()) return statuses.status().message();
    std::string text;
    for (const VersionStatus& status : *statuses) {
      text += (text.empty() ? "" : ", ") + std::to_string(status.version) + " " +
              std::string(version_state_name(status.state)) + " " +
              std::string(rpc_code_name(status.status.code()));
    }
    return text;
  }
  [[nodiscard]] std::string reason(int64_t version) const {
    const auto statuses = core_->models.status({"m", version, ""});
    return statuses.ok() ? statuses->front().status.message() : statuses.status().message();
  }
  [[nodiscard]] int64_t live() const {
    const auto servable = found("m");
    return servable == nullptr ? -1 : servable->version();
  }
  [[nodiscard]] ModelConfig config(VersionPolicy policy = {}, const std::string& base = "base") const {
    return {"m", path(base), std::move(policy), {}};
  }
};

}  // namespace nacre
