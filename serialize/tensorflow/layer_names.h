#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace nacre {

/// Gives layers names that nacre allows (is_valid_name), each once.
class LayerNames {
 public:
  /// `scopes`: those of the network's variables ("sequential/conv1/kernel" is of "sequential/conv1");
  /// `nodes`: those that layers end at. What all of either begin with is left out.
  LayerNames(const std::vector<std::string>& scopes, const std::vector<std::string>& nodes);

  /// For a layer of variables with that scope.
  std::string of_scope(std::string_view scope);
  /// For a layer without, which ends at the node of that name. Those of a name that is_plain come first.
  std::string of_node(std::string_view node);
  /// True when nothing but what all begin with is left out of the node's name.
  [[nodiscard]] bool is_plain(std::string_view node) const;

 private:
  std::string unused(std::string name);
  std::string common_scope_;  ///< "sequential/", or empty
  std::string common_node_;
  std::set<std::string, std::less<>> used_;
};

/// "scope" of a variable "scope/kernel"; the name itself when it has no scope.
std::string scope_of_variable(std::string_view variable);

}  // namespace nacre
