#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The value of a node's attribute, as model files and bundles hold it.
using AttrValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;
using AttrMap = std::map<std::string, AttrValue, std::less<>>;

/// Height and width of something, in pixels. Written as one integer when both are equal, else as [height,
/// width].
struct Extent2 {
  int64_t height = 0;
  int64_t width = 0;
  [[nodiscard]] bool operator==(const Extent2&) const = default;
};

/// Cells at the four sides of an image. Written as one integer when all are equal, as [height, width] when
/// opposite sides are, else as [top, bottom, left, right].
struct Sides {
  int64_t top = 0;
  int64_t bottom = 0;
  int64_t left = 0;
  int64_t right = 0;
  [[nodiscard]] bool operator==(const Sides&) const = default;
};

/// One name of an enumeration's value. An enumeration E is an attribute type when `std::span<const
/// EnumName<E>> enum_names(E)` is found beside it.
template <typename E>
struct EnumName {
  E value;
  std::string_view name;
};

/// One line of an op's documentation.
struct AttrDoc {
  std::string name;
  std::string type;           ///< "integer", "[height, width]", "\"same\" | \"valid\"", ...
  std::string default_value;  ///< as JSON; empty when the attribute is required
  std::string text;
};

/// An attribute's value as JSON text, for messages and documentation.
std::string to_string(const AttrValue& value);
/// The same, cut off when it is long.
std::string for_message(const AttrValue& value);

// A typed attribute struct lists its fields once:
//
//   struct DropoutAttrs {
//     double rate = 0.5;
//     template <typename Visitor> void visit(Visitor& v) { v.field("rate", rate, 0.0, 0.99, "share of inputs
//     set to 0"); }
//   };
//
// and reader, writer and documentation below all run over that list. An attribute whose default lies outside
// its own range is required.

/// Fills a struct from an AttrMap: wrong types, values out of range, missing and unknown attributes are
/// kBadData errors that name the attribute and say what is known.
class AttrReader {
 public:
  explicit AttrReader(const AttrMap& attributes) : attributes_(attributes) {}

  void field(std::string_view name, bool& value, std::string_view doc);
  void field(std::string_view name, int64_t& value, int64_t min, int64_t max, std::string_view doc);
  void field(std::string_view name, double& value, double min, double max, std::string_view doc);
  void field(std::string_view name, Extent2& value, int64_t min, int64_t max, std::string_view doc);
  void field(std::string_view name, Sides& value, int64_t min, int64_t max, std::string_view doc);
  template <typename E>
  void field(std::string_view name, E& value, std::string_view doc);

  /// The first error found, or the first attribute that no field took.
  [[nodiscard]] Status finish();

 private:
  const AttrValue* take(std::string_view name);
  void fail(std::string_view name, const std::string& reason);

  const AttrMap& attributes_;
  std::vector<std::string> known_;
  Status status_;
};

/// Writes every field, defaults too, so that a file says all it means.
class AttrWriter {
 public:
  void field(std::string_view name, bool& value, std::string_view) { attributes_.emplace(name, value); }
  void field(std::string_view name, int64_t& value, int64_t, int64_t, std::string_view) {
    attributes_.emplace(name, value);
  }
  void field(std::string_view name, double& value, double, double, std::string_view) {
    attributes_.emplace(name, value);
  }
  void field(std::string_view name, Extent2& value, int64_t, int64_t, std::string_view);
  void field(std::string_view name, Sides& value, int64_t, int64_t, std::string_view);
  template <typename E>
  void field(std::string_view name, E& value, std::string_view) {
    for (const EnumName<E>& e : enum_names(E{})) {
      if (e.value == value) attributes_.emplace(name, std::string(e.name));
    }
  }
  [[nodiscard]] AttrMap take() { return std::move(attributes_); }

 private:
  AttrMap attributes_;
};

/// Lists every field with its type, default and text.
class AttrDocumenter {
 public:
  void field(std::string_view name, bool& value, std::string_view doc);
  void field(std::string_view name, int64_t& value, int64_t min, int64_t max, std::string_view doc);
  void field(std::string_view name, double& value, double min, double max, std::string_view doc);
  void field(std::string_view name, Extent2& value, int64_t min, int64_t max, std::string_view doc);
  void field(std::string_view name, Sides& value, int64_t min, int64_t max, std::string_view doc);
  template <typename E>
  void field(std::string_view name, E& value, std::string_view doc) {
    std::string type;
    std::string current;
    for (const EnumName<E>& e : enum_names(E{})) {
      type += (type.empty() ? "\"" : " | \"") + std::string(e.name) + "\"";
      if (e.value == value) current = "\"" + std::string(e.name) + "\"";
    }
    docs_.push_back({std::string(name), type, current, std::string(doc)});
  }
  [[nodiscard]] std::vector<AttrDoc> take() { return std::move(docs_); }

 private:
  std::vector<AttrDoc> docs_;
};

template <typename E>
void AttrReader::field(std::string_view name, E& value, std::string_view /*doc*/) {
  const AttrValue* found = take(name);
  if (found == nullptr) return;
  std::string known;
  for (const EnumName<E>& e : enum_names(E{})) {
    if (const auto* text = std::get_if<std::string>(found); text != nullptr && *text == e.name) {
      value = e.value;
      return;
    }
    known += (known.empty() ? "\"" : ", \"") + std::string(e.name) + "\"";
  }
  fail(name, "is " + for_message(*found) + "; known are " + known);
}

/// Attribute struct A from a map (see AttrReader).
template <typename A>
Result<A> parse_attributes(const AttrMap& attributes) {
  A result;
  AttrReader reader(attributes);
  result.visit(reader);
  NACRE_RETURN_IF_ERROR(reader.finish());
  return result;
}

/// The map that holds every field of `attributes`.
template <typename A>
AttrMap write_attributes(A attributes) {
  AttrWriter writer;
  attributes.visit(writer);
  return writer.take();
}

/// The documentation of attribute struct A.
template <typename A>
std::vector<AttrDoc> document_attributes() {
  A defaults;
  AttrDocumenter documenter;
  defaults.visit(documenter);
  return documenter.take();
}

}  // namespace nacre
