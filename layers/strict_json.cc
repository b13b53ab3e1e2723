#include "layers/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace nacre {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxReason = 200;

/// Builds the value while it is read. nlohmann's own builder lets the last of equal keys win and nests
/// without limit.
class Builder {
 public:
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string& /*text*/) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t& /*value*/) { return false; }

  bool start_object(size_t /*elements*/) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(size_t /*elements*/) { return open(Json::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (open_.back()->contains(name)) {
      reason = fmt::format("key {:?} stands twice in one object", name.substr(0, kMaxReason / 2));
      return false;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t /*position*/, const std::string& /*last_token*/, const Json::exception& error) {
    reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const size_t id = reason.find("] ");
    if (reason.starts_with('[') && id != std::string::npos) reason.erase(0, id + 2);
    return false;
  }

  Json root;
  std::string reason;

 private:
  Json* place(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == static_cast<size_t>(kMaxJsonDepth)) {
      reason = fmt::format("nested more than {} deep", kMaxJsonDepth);
      return false;
    }
    // Stays valid: while a child is open, nothing is added to its parent.
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_;
  std::string key_;
};

}  // namespace

Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& where) {
  if (text.size() > kMaxJsonBytes) {
    return Status(StatusCode::kLimit, fmt::format("{}: {} bytes of JSON, at most {} are read", where,
                                                  text.size(), kMaxJsonBytes));
  }
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    std::string reason = builder.reason.substr(0, kMaxReason);
    // The library's text quotes the file's.
    for (char& c : reason) {
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return Status(StatusCode::kBadData, fmt::format("{}: {}", where, reason));
  }
  return std::move(builder.root);
}

}  // namespace nacre
