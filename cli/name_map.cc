#include "cli/name_map.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "cli/console.h"
#include "engine/file.h"
#include "layers/strict_json.h"

namespace nacre {

Result<NameMap> read_name_map(const std::string& path) {
  NameMap map;
  if (path.empty()) return map;
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxJsonBytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  NACRE_ASSIGN_OR_RETURN(const nlohmann::json root, parse_strict_json(text, path));
  const auto bad = [&](const std::string& reason) {
    return Status(StatusCode::kBadData, path + ": " + reason);
  };
  if (!root.is_object()) return bad("expected an object such as {\"conv1/kernel\": \"scope/Variable\"}");
  std::map<std::string, std::string, std::less<>> back;
  for (const auto& [ours, theirs] : root.items()) {
    if (!theirs.is_string() || theirs.get_ref<const std::string&>().empty()) {
      return bad(ours + ": expected the name of a tensor");
    }
    const auto& name = theirs.get_ref<const std::string&>();
    const auto [place, added] = back.emplace(TensorNames::bare(name), ours);
    if (!added) return bad(fmt::format("{} and {} are both mapped to {}", place->second, ours, name));
    map.emplace(ours, name);
  }
  return map;
}

Status check_name_map(const NameMap& map, const std::set<std::string, std::less<>>& known,
                      const std::string& path) {
  for (const auto& [ours, theirs] : map) {
    if (known.contains(ours)) continue;
    std::vector<std::string> variables;
    for (const std::string& name : known) {
      const size_t slash = name.rfind('/');
      const bool is_slot = slash != std::string::npos && known.contains(name.substr(0, slash));
      if (!is_slot) variables.push_back(name);
    }
    return {StatusCode::kBadData,
            fmt::format("{}: {} is none of nacre's names here; known are {}, and their slots", path, ours,
                        listed(variables))};
  }
  return {};
}

}  // namespace nacre
