#include "serialize/tensorflow/layer_names.h"

#include <algorithm>
#include <string>

#include "engine/graph.h"

namespace nacre {
namespace {

constexpr size_t kMaxNameBytes = 200;

/// Slashes become points, and whatever else a name may not hold an underscore.
std::string as_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, kMaxNameBytes)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '.';
    name += c == '/' ? '.' : fine ? c : '_';
  }
  if (name.empty() || name.front() == '.') name.insert(0, "_");
  return name;
}

/// "first/" when all of several names begin with it; else empty.
std::string common_beginning(const std::vector<std::string>& names) {
  const size_t slash = names.size() < 2 ? std::string::npos : names.front().find('/');
  if (slash == std::string::npos) return {};
  const std::string first = names.front().substr(0, slash + 1);
  const bool all =
      std::ranges::all_of(names, [&](const std::string& name) { return name.starts_with(first); });
  return all ? first : std::string();
}

std::string_view without(std::string_view name, std::string_view beginning) {
  return name.starts_with(beginning) ? name.substr(beginning.size()) : name;
}

}  // namespace

std::string scope_of_variable(std::string_view variable) {
  const size_t slash = variable.rfind('/');
  return std::string(slash == std::string_view::npos ? variable : variable.substr(0, slash));
}

LayerNames::LayerNames(const std::vector<std::string>& scopes, const std::vector<std::string>& nodes)
    : common_scope_(common_beginning(scopes)),
      common_node_(common_beginning(nodes)),
      used_({std::string(kInputName), std::string(kPredictionName)}) {}

std::string LayerNames::of_scope(std::string_view scope) {
  return unused(as_name(without(scope, common_scope_)));
}

bool LayerNames::is_plain(std::string_view node) const {
  return without(node, common_node_).find('/') == std::string_view::npos;
}

std::string LayerNames::of_node(std::string_view node) {
  node = without(node, common_node_);
  // "block/relu_1/Relu": the last part is what TensorFlow calls the op, the one before it the layer.
  const size_t last = node.rfind('/');
  if (last != std::string_view::npos && last > 0) {
    const std::string_view scope = node.substr(0, last);
    const size_t before = scope.rfind('/');
    std::string name = as_name(before == std::string_view::npos ? scope : scope.substr(before + 1));
    if (!used_.contains(name)) return unused(std::move(name));
  }
  return unused(as_name(node));
}

std::string LayerNames::unused(std::string name) {
  std::string tried = name;
  for (int i = 2; !used_.insert(tried).second; ++i) tried = name + "_" + std::to_string(i);
  return tried;
}

}  // namespace nacre
