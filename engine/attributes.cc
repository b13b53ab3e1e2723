#include "engine/attributes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace nacre {
namespace {

AttrValue shortest(const Extent2& value) {
  if (value.height == value.width) return value.height;
  return std::vector<int64_t>{value.height, value.width};
}

AttrValue shortest(const Sides& value) {
  if (value.top == value.bottom && value.left == value.right) return shortest(Extent2{value.top, value.left});
  return std::vector<int64_t>{value.top, value.bottom, value.left, value.right};
}

}  // namespace

std::string to_string(const AttrValue& value) {
  struct Printer {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(int64_t v) const { return fmt::format("{}", v); }
    std::string operator()(double v) const { return fmt::format("{}", v); }
    std::string operator()(const std::string& v) const { return fmt::format("{:?}", v); }
    std::string operator()(const std::vector<int64_t>& v) const {
      return fmt::format("[{}]", fmt::join(v, ", "));
    }
  };
  return std::visit(Printer{}, value);
}

std::string for_message(const AttrValue& value) {
  constexpr size_t kLongest = 100;
  std::string text = to_string(value);
  // Values come from files, so that they may be of any length.
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

const AttrValue* AttrReader::take(std::string_view name) {
  known_.emplace_back(name);
  const auto found = attributes_.find(name);
  return found == attributes_.end() ? nullptr : &found->second;
}

void AttrReader::fail(std::string_view name, const std::string& reason) {
  if (status_.ok()) {
    status_ = Status(StatusCode::kBadData, fmt::format("attribute {:?} {}", name, reason));
  }
}

void AttrReader::field(std::string_view name, bool& value, std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  if (found == nullptr) return;
  if (const auto* v = std::get_if<bool>(found)) {
    value = *v;
  } else {
    fail(name, fmt::format("is {}, expected true or false", for_message(*found)));
  }
}

void AttrReader::field(std::string_view name, int64_t& value, int64_t min, int64_t max,
                       std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  if (found == nullptr) {
    if (value < min || value > max) fail(name, "is missing");
    return;
  }
  const auto* v = std::get_if<int64_t>(found);
  if (v == nullptr || *v < min || *v > max) {
    fail(name, fmt::format("is {}, expected an integer from {} to {}", for_message(*found), min, max));
    return;
  }
  value = *v;
}

void AttrReader::field(std::string_view name, double& value, double min, double max,
                       std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  if (found == nullptr) {
    if (!(value >= min && value <= max)) fail(name, "is missing");
    return;
  }
  double number = std::nan("");
  if (const auto* real = std::get_if<double>(found)) number = *real;
  if (const auto* integer = std::get_if<int64_t>(found)) number = static_cast<double>(*integer);
  if (!(number >= min && number <= max)) {
    fail(name, fmt::format("is {}, expected a number from {} to {}", for_message(*found), min, max));
    return;
  }
  value = number;
}

void AttrReader::field(std::string_view name, Extent2& value, int64_t min, int64_t max,
                       std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  const auto in_range = [&](int64_t v) { return v >= min && v <= max; };
  if (found == nullptr) {
    if (!in_range(value.height) || !in_range(value.width)) fail(name, "is missing");
    return;
  }
  Extent2 extent;
  bool valid = false;
  if (const auto* both = std::get_if<int64_t>(found)) {
    extent = {*both, *both};
    valid = true;
  } else if (const auto* list = std::get_if<std::vector<int64_t>>(found);
             list != nullptr && list->size() == 2) {
    extent = {(*list)[0], (*list)[1]};
    valid = true;
  }
  if (!valid || !in_range(extent.height) || !in_range(extent.width)) {
    fail(name, fmt::format("is {}, expected an integer from {} to {} or two of them, [height, width]",
                           for_message(*found), min, max));
    return;
  }
  value = extent;
}

Status AttrReader::finish() {
  // Unknown ones first: a misspelt name is the reason why the right one is missing.
  for (const auto& [name, value] : attributes_) {
    if (std::ranges::find(known_, name) == known_.end()) {
      return {StatusCode::kBadData,
              fmt::format("unknown attribute {}; known are {}", for_message(name), fmt::join(known_, ", "))};
    }
  }
  return status_;
}

void AttrReader::field(std::string_view name, Sides& value, int64_t min, int64_t max,
                       std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  const auto in_range = [&](int64_t v) { return v >= min && v <= max; };
  if (found == nullptr) {
    if (!in_range(value.top) || !in_range(value.bottom) || !in_range(value.left) || !in_range(value.right)) {
      fail(name, "is missing");
    }
    return;
  }
  std::vector<int64_t> list;
  if (const auto* all = std::get_if<int64_t>(found)) {
    list.assign(4, *all);
  } else if (const auto* some = std::get_if<std::vector<int64_t>>(found)) {
    list = *some;
  }
  if (list.size() == 2) list = {list[0], list[0], list[1], list[1]};
  if (list.size() != 4 || !std::ranges::all_of(list, in_range)) {
    fail(name,
         fmt::format("is {}, expected an integer from {} to {}, or [height, width] or [top, bottom, left, "
                     "right] of such",
                     for_message(*found), min, max));
    return;
  }
  value = {list[0], list[1], list[2], list[3]};
}

void AttrWriter::field(std::string_view name, Extent2& value, int64_t, int64_t, std::string_view) {
  attributes_.emplace(name, shortest(value));
}

void AttrWriter::field(std::string_view name, Sides& value, int64_t, int64_t, std::string_view) {
  attributes_.emplace(name, shortest(value));
}

void AttrDocumenter::field(std::string_view name, bool& value, std::string_view doc) {
  docs_.push_back({std::string(name), "true | false", value ? "true" : "false", std::string(doc)});
}

void AttrDocumenter::field(std::string_view name, int64_t& value, int64_t min, int64_t max,
                           std::string_view doc) {
  const bool required = value < min || value > max;
  docs_.push_back({std::string(name), fmt::format("integer, {} to {}", min, max),
                   required ? "" : fmt::format("{}", value), std::string(doc)});
}

void AttrDocumenter::field(std::string_view name, double& value, double min, double max,
                           std::string_view doc) {
  const bool required = !(value >= min && value <= max);
  docs_.push_back({std::string(name), fmt::format("number, {} to {}", min, max),
                   required ? "" : fmt::format("{}", value), std::string(doc)});
}

void AttrDocumenter::field(std::string_view name, Extent2& value, int64_t min, int64_t max,
                           std::string_view doc) {
  const bool required = value.height < min || value.height > max || value.width < min || value.width > max;
  const std::string text = required ? "" : to_string(shortest(value));
  docs_.push_back({std::string(name), fmt::format("integer or [height, width], {} to {}", min, max), text,
                   std::string(doc)});
}

void AttrDocumenter::field(std::string_view name, Sides& value, int64_t min, int64_t max,
                           std::string_view doc) {
  docs_.push_back({std::string(name),
                   fmt::format("integer, [height, width] or [top, bottom, left, right], {} to {}", min, max),
                   to_string(shortest(value)), std::string(doc)});
}

}  // namespace nacre
