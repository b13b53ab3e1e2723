#include "serve/rest/json_value.h"

#include <fmt/format.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

namespace nacre {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;

constexpr size_t kShownBytes = 64;

RpcStatus bad(std::string message) {
  return {RpcCode::kInvalidArgument, std::move(message)};
}

std::string_view type_name(const element& value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "Array";
    case element_type::OBJECT:
      return "Object";
    case element_type::STRING:
      return "String";
    case element_type::BOOL:
      return "Bool";
    case element_type::NULL_VALUE:
      return "Null";
    default:
      return "Number";
  }
}

RpcStatus read_float(const element& value, float& out) {
  double number = 0;
  if (std::string_view text; value.get(text) == simdjson::SUCCESS && text.starts_with(kSpecialMark)) {
    text.remove_prefix(1);
    if (text == "NaN") out = std::numeric_limits<float>::quiet_NaN();
    if (text == "Infinity") out = std::numeric_limits<float>::infinity();
    if (text == "-Infinity") out = -std::numeric_limits<float>::infinity();
    return {};
  }
  if (value.get_double().get(number) != simdjson::SUCCESS || std::abs(number) > FLT_MAX) {
    return bad(described(value) + " is not of expected type: float");
  }
  out = static_cast<float>(number);
  return {};
}

RpcStatus read_level(const element& value, float& out) {
  int64_t level = 0;
  if (value.get(level) != simdjson::SUCCESS || level < 0 || level > 255) {
    return bad(described(value) + " is not of expected type: uint8");
  }
  out = static_cast<float>(level);
  return {};
}

}  // namespace

std::string described(const element& value) {
  std::string text;
  if (value.is_array()) {
    text = "[...]";
  } else if (value.is_object()) {
    text = "{...}";
  } else if (std::string_view string; value.get(string) == simdjson::SUCCESS) {
    text = fmt::format("\"{}\"", string.substr(0, kShownBytes));
  } else {
    text = simdjson::minify(value);
  }
  return fmt::format("JSON Value: {} Type: {}", text, type_name(value));
}

RpcStatus read_numbers(const element& value, NumberRange range, std::span<const int64_t> dims,
                       std::vector<float>& out) {
  if (dims.empty()) {
    out.push_back(0);
    return range == NumberRange::kLevels ? read_level(value, out.back()) : read_float(value, out.back());
  }
  array items;
  if (value.get(items) != simdjson::SUCCESS) {
    return bad(
        fmt::format("{} Not formatted correctly. Expecting a list of {} values", described(value), dims[0]));
  }
  int64_t count = 0;
  for (const element item : items) {
    if (++count > dims[0]) break;
    if (RpcStatus read = read_numbers(item, range, dims.subspan(1), out); !read.ok()) return read;
  }
  if (count == dims[0]) return {};
  return bad(fmt::format("Expecting tensor size: {} but got: {}", dims[0],
                         count > dims[0] ? "more" : std::to_string(count)));
}

}  // namespace nacre
