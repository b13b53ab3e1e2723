#include "serve/rest/route.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <vector>

#include "serve/version_folders.h"

namespace nacre {
namespace {

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const size_t end = std::min(path.find('/'), path.size());
    parts.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

/// %41 as "A"; nothing when it is not well-formed.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    unsigned byte = 0;
    const char* const end = text.data() + i + 3;
    const auto [stop, error] = std::from_chars(text.data() + i + 1, end, byte, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Reads the parts of a path below /v1/.
class PathReader {
 public:
  PathReader(std::string_view method, std::string_view target, std::vector<std::string_view> parts)
      : method_(method), target_(target), parts_(std::move(parts)) {}

  RpcResult<Route> read() {
    Route route;
    const bool get = method_ == "GET";
    bool cloud = false;
    if (take("projects")) {
      if (get || !take_any()) return malformed();
      cloud = true;
    }
    if (!take("models")) return malformed();
    if (get && parts_.empty()) return RpcStatus(RpcCode::kInvalidArgument, "Missing model name in request.");
    // The method stands behind the last part.
    std::string_view verb;
    if (!get && !parts_.empty()) {
      std::string_view& last = parts_.back();
      const size_t colon = last.find(':');
      if (colon == std::string_view::npos) return malformed();
      verb = last.substr(colon + 1);
      last = last.substr(0, colon);
    }
    const std::optional<std::string_view> name = take_any();
    const std::optional<std::string> decoded = name.has_value() ? percent_decoded(*name) : std::nullopt;
    if (!decoded.has_value() || decoded->empty() || name->find(':') != std::string_view::npos)
      return malformed();
    route.model.name = *decoded;
    if (take("versions")) {
      const std::optional<std::string_view> text = take_any();
      if (!text.has_value() || text->empty()) return malformed();
      if (cloud && !all_digits(*text)) {
        const std::optional<std::string> label = percent_decoded(*text);
        if (!label.has_value()) return malformed();
        route.model.label = *label;  // CloudML's versions have names
      } else if (!all_digits(*text)) {
        return malformed();
      } else if (route.model.version = parse_version(*text); !route.model.version.has_value()) {
        return RpcStatus(RpcCode::kInvalidArgument,
                         fmt::format("Failed to convert version: {} to numeric", *text));
      }
    } else if (!cloud && take("labels")) {
      const std::optional<std::string_view> text = take_any();
      const std::optional<std::string> label = text.has_value() ? percent_decoded(*text) : std::nullopt;
      if (!label.has_value() || label->empty()) return malformed();
      route.model.label = *label;
    }
    if (get) {
      route.kind = take("metadata") ? RouteKind::kMetadata : RouteKind::kStatus;
    } else if (verb == "predict") {
      route.kind = cloud ? RouteKind::kCloudPredict : RouteKind::kPredict;
    } else if (!cloud && (verb == "classify" || verb == "regress")) {
      route.kind = verb == "classify" ? RouteKind::kClassify : RouteKind::kRegress;
    } else {
      return malformed();
    }
    if (!parts_.empty()) return malformed();
    return route;
  }

 private:
  [[nodiscard]] RpcStatus malformed() const {
    return {RpcCode::kInvalidArgument, fmt::format("Malformed request: {} {}", method_, target_)};
  }
  bool take(std::string_view part) {
    if (parts_.empty() || !equals_ignoring_case(parts_.front(), part)) return false;
    parts_.erase(parts_.begin());
    return true;
  }
  std::optional<std::string_view> take_any() {
    if (parts_.empty()) return std::nullopt;
    const std::string_view part = parts_.front();
    parts_.erase(parts_.begin());
    return part;
  }

  std::string_view method_;
  std::string_view target_;
  std::vector<std::string_view> parts_;
};

}  // namespace

RpcResult<Route> route_of(std::string_view method, std::string_view target, std::string_view metrics_path) {
  if (method == "HEAD") method = "GET";
  const std::string_view path = target.substr(0, target.find('?'));
  const auto simple = [](RouteKind kind) {
    Route route;
    route.kind = kind;
    return route;
  };
  if (method == "OPTIONS") return simple(RouteKind::kPreflight);
  if (method != "GET" && method != "POST") {
    return RpcStatus(RpcCode::kUnimplemented, fmt::format("Method {} is not supported", method));
  }
  if (method == "GET") {
    if (!metrics_path.empty() && path == metrics_path) return simple(RouteKind::kMetrics);
    if (path == "/v2/health/live") return simple(RouteKind::kLive);
    if (path == "/v2/health/ready") return simple(RouteKind::kReady);
  }
  std::vector<std::string_view> parts =
      path.starts_with('/') ? parts_of(path) : std::vector<std::string_view>();
  if (method == "GET" && parts.size() >= 4 && parts.front() == "v2" && parts.back() == "ready") {
    parts.erase(parts.begin());
    parts.pop_back();
    NACRE_ASSIGN_OR_RETURN(Route route, PathReader(method, target, std::move(parts)).read());
    if (route.kind != RouteKind::kStatus)
      return RpcStatus(RpcCode::kNotFound, fmt::format("Not found: {} {}", method, path));
    route.kind = RouteKind::kModelReady;
    return route;
  }
  if (parts.size() < 2 || !equals_ignoring_case(parts.front(), "v1")) {
    return RpcStatus(RpcCode::kNotFound, fmt::format("Not found: {} {}", method, path));
  }
  parts.erase(parts.begin());
  return PathReader(method, target, std::move(parts)).read();
}

}  // namespace nacre
