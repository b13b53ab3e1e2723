#include "serve/rest/json_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/base64.h"
#include "serve/rest/json_value.h"

namespace nacre {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

RpcStatus bad(std::string message) {
  return {RpcCode::kInvalidArgument, std::move(message)};
}

/// The text with NaN, Infinity and -Infinity, where they stand outside of strings, as marked strings; nothing
/// when it has none.
std::optional<std::string> with_marked_specials(std::string_view text) {
  std::string out;
  bool found = false;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      if (c == '"') in_string = false;
      continue;
    }
    bool special = false;
    for (const std::string_view name : {"NaN", "Infinity", "-Infinity"}) {
      if (!text.substr(i).starts_with(name)) continue;
      out += fmt::format("\"\\u{:04x}{}\"", static_cast<int>(kSpecialMark), name);
      i += name.size() - 1;
      found = special = true;
      break;
    }
    if (special) continue;
    in_string = c == '"';
    out += c;
  }
  return found ? std::optional(std::move(out)) : std::nullopt;
}

/// The value of {"b64": "..."}, when it is of that form.
std::optional<element> base64_of(const element& value) {
  object fields;
  if (value.get(fields) != simdjson::SUCCESS || fields.size() != 1) return std::nullopt;
  element text;
  if (fields.at_key("b64").get(text) != simdjson::SUCCESS) return std::nullopt;
  return text;
}

RpcResult<std::vector<std::byte>> read_base64(const element& value) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS)
    return bad(described(value) + " Not formatted correctly for base64 data");
  auto bytes = decode_base64(text);
  if (!bytes.ok()) return bad("Unable to base64 decode: " + bytes.status().message());
  return std::move(bytes).value();
}

RpcResult<std::vector<std::byte>> read_bytes(const element& value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    const auto bytes = std::as_bytes(std::span(text));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  }
  const std::optional<element> encoded = base64_of(value);
  if (!encoded.has_value()) return bad(described(value) + " is not of expected type: string");
  return read_base64(*encoded);
}

/// An instance's "key" as JSON text: text or a number.
RpcResult<std::string> read_key(const element& value) {
  std::string_view text;
  const bool is_text = value.get(text) == simdjson::SUCCESS;
  if (is_text ? text.starts_with(kSpecialMark) : !value.is_number())
    return bad(described(value) + " is no key: expected text or a number");
  return std::string(simdjson::minify(value));
}

/// Reads the images of one request; `inputs` is filled row by row.
class PredictReader {
 public:
  PredictReader(const ServedSignature& signature, bool takes_keys, PredictInputs& inputs)
      : name_(signature.info.inputs.front().name),
        takes_keys_(takes_keys),
        numbers_(signature.input == InputForm::kFloat),
        range_(signature.takes_levels() ? NumberRange::kLevels : NumberRange::kFloats),
        dims_(signature.info.inputs.front().shape),
        inputs_(inputs) {
    dims_.erase(dims_.begin());  // the batch
  }

  RpcStatus read_row(const element& value) {
    if (RpcStatus counted = count_row(); !counted.ok()) return counted;
    if (numbers_) return read_numbers(value, range_, dims_, inputs_.floats);
    return add(read_bytes(value));
  }

  /// `instances`: values, or objects that name the input.
  RpcStatus read_instances(const array& instances) {
    std::optional<bool> named;
    size_t i = 0;
    for (const element instance : instances) {
      const bool object_form = instance.is_object() && !base64_of(instance).has_value();
      if (!named.has_value()) named = object_form;
      RpcStatus read = instance_value(instance, *named, object_form);
      if (!read.ok()) {
        return bad(
            fmt::format("Failed to process element: {} of 'instances' list. Error: {}", i, read.message()));
      }
      ++i;
    }
    return i > 0 ? RpcStatus() : bad("'instances' is an empty list");
  }

  /// `inputs`: a value for all rows together, or an object that names the input.
  RpcStatus read_inputs(element value) {
    object fields;
    if (!base64_of(value).has_value() && value.get(fields) == simdjson::SUCCESS) {
      if (RpcStatus found = only_field(fields, value); !found.ok()) return found;
    }
    array items;
    inputs_.scalar = value.get(items) != simdjson::SUCCESS;
    if (inputs_.scalar) return read_row(value);
    for (const element item : items) {
      if (RpcStatus read = read_row(item); !read.ok()) return read;
    }
    return inputs_.count > 0 ? RpcStatus() : bad("'inputs' is an empty list");
  }

 private:
  RpcStatus count_row() {
    if (inputs_.count == kMaxImagesPerCall) {
      return bad(fmt::format("more than {} images in one request", kMaxImagesPerCall));
    }
    ++inputs_.count;
    return {};
  }

  RpcStatus add(RpcResult<std::vector<std::byte>> bytes) {
    if (!bytes.ok()) return bytes.status();
    inputs_.encoded.push_back(std::move(bytes).value());
    return {};
  }

  RpcStatus instance_value(const element& instance, bool named, bool object_form) {
    if (named && !object_form) {
      return bad(fmt::format("{} Not formatted correctly. Expecting object but got {}", described(instance),
                             instance.is_array() ? "list" : "value"));
    }
    if (!named && object_form) {
      return bad(described(instance) + " Not formatted correctly. Expecting value/list but got object");
    }
    if (!named) return read_row(instance);
    const object fields = instance.get_object().value_unsafe();
    element key;
    const bool keyed = takes_keys_ && fields.at_key("key").get(key) == simdjson::SUCCESS;
    if (keyed) {
      inputs_.keys.resize(inputs_.count + 1);
      NACRE_ASSIGN_OR_RETURN(inputs_.keys.back(), read_key(key));
    }
    element value;
    const size_t others = keyed ? 1 : 0;
    // {"b64": "...", "key": ...}, as in a batch.
    if (keyed && !numbers_ && fields.size() == 2 && fields.at_key("b64").get(value) == simdjson::SUCCESS) {
      if (RpcStatus counted = count_row(); !counted.ok()) return counted;
      return add(read_base64(value));
    }
    if (RpcStatus found = only_field(fields, value, others); !found.ok()) return found;
    return read_row(value);
  }

  /// The field of the input's name, which must be the only one beside `others`.
  RpcStatus only_field(const object& fields, element& value, size_t others = 0) const {
    if (fields.at_key(name_).get(value) != simdjson::SUCCESS) {
      return bad(fmt::format("Missing input: an object has no key \"{}\"", name_));
    }
    if (fields.size() != 1 + others) {
      return bad(fmt::format("Unexpected input: the only key may be \"{}\"", name_));
    }
    return {};
  }

  std::string name_;
  bool takes_keys_;
  bool numbers_;
  NumberRange range_;
  std::vector<int64_t> dims_;
  PredictInputs& inputs_;
};

/// What a feature of an example holds, for those kinds that must not be mixed.
RpcResult<element_type> kind_of(const element& value) {
  switch (value.type()) {
    case element_type::OBJECT:
      if (!base64_of(value).has_value()) break;
      return element_type::STRING;
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::BOOL:
      return element_type::INT64;
    case element_type::STRING:
    case element_type::DOUBLE:
      return value.type();
    default:
      break;
  }
  return bad(described(value) + " Not formatted correctly for a feature");
}

/// Checks the features of an example, and takes the one of the image, where there is one.
RpcStatus read_example(const element& example, std::optional<std::vector<std::byte>>& image) {
  object features;
  if (example.get(features) != simdjson::SUCCESS) {
    return bad(described(example) + " Not formatted correctly. Expecting object but got " +
               (example.is_array() ? "list" : "value"));
  }
  for (const auto& [name, value] : features) {
    size_t count = 0;
    element last = value;
    std::optional<element_type> kind;
    const auto check = [&, feature = name](const element& item) -> RpcStatus {
      NACRE_ASSIGN_OR_RETURN(const element_type own, kind_of(item));
      if (kind.has_value() && own != *kind) {
        return bad(
            fmt::format("Unexpected element type in feature: {}. Its values are of several kinds", feature));
      }
      kind = own;
      last = item;
      ++count;
      return {};
    };
    if (array list; value.get(list) == simdjson::SUCCESS) {
      for (const element item : list) {
        if (RpcStatus checked = check(item); !checked.ok()) return checked;
      }
    } else if (RpcStatus checked = check(value); !checked.ok()) {
      return checked;
    }
    if (name != kImageFeature) continue;
    if (count != 1 || kind != element_type::STRING) {
      return bad(fmt::format("Key: {}. Expecting one string, found {} values", name, count));
    }
    NACRE_ASSIGN_OR_RETURN(image, read_bytes(last));
  }
  return {};
}

}  // namespace

size_t json_memory(std::string_view text) {
  // Every value stands behind one of these marks. Of the index, a mark and a value take 24 bytes, a string
  // its own length; as much may come of strings in base64 or of numbers.
  constexpr size_t kMark = 24;
  constexpr size_t kText = 3;
  constexpr size_t kMost = 15;
  size_t marks = 0;
  for (const char c : text) {
    const bool mark = c == ',' || c == ':' || c == '[' || c == '{';
    marks += mark ? 1 : 0;
  }
  return std::min(kMark * marks + kText * text.size(), kMost * text.size());
}

RpcStatus JsonDocument::parse(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return bad("JSON Parse error: The document is empty");
  }
  // Grows with the text; the depth is fixed from the start.
  simdjson::error_code error = parser_.allocate(text.size(), kMaxJsonDepth);
  element parsed;
  if (error == simdjson::SUCCESS) error = parser_.parse(text.data(), text.size()).get(parsed);
  if (error != simdjson::SUCCESS && error != simdjson::DEPTH_ERROR) {
    if (const auto marked = with_marked_specials(text); marked.has_value()) {
      error = parser_.allocate(marked->size(), kMaxJsonDepth);
      if (error == simdjson::SUCCESS) error = parser_.parse(*marked).get(parsed);
    }
  }
  if (error != simdjson::SUCCESS) {
    return bad(fmt::format("JSON Parse error: Invalid value. {}", simdjson::error_message(error)));
  }
  if (parsed.get(root_) != simdjson::SUCCESS) {
    return bad("Request body JSON must be an object, found: " + described(parsed));
  }
  return {};
}

RpcResult<std::string> signature_name_of(const object& root) {
  element value;
  if (root.at_key("signature_name").get(value) != simdjson::SUCCESS) return std::string();
  std::string_view name;
  if (value.get(name) != simdjson::SUCCESS) return bad("'signature_name' key must be a string value.");
  return std::string(name);
}

RpcResult<PredictInputs> read_predict(const object& root, const ServedSignature& signature, bool cloud) {
  element instances;
  element columns;
  const bool has_rows = root.at_key("instances").get(instances) == simdjson::SUCCESS;
  const bool has_columns = !cloud && root.at_key("inputs").get(columns) == simdjson::SUCCESS;
  if (has_rows && has_columns)
    return bad("Request has both 'instances' and 'inputs' keys, expected one of them");
  if (!has_rows && !has_columns) {
    return bad(cloud ? "Missing 'instances' key" : "Missing 'inputs' or 'instances' key");
  }
  PredictInputs inputs;
  inputs.rows = has_rows;
  PredictReader reader(signature, cloud, inputs);
  if (has_rows) {
    array list;
    if (instances.get(list) != simdjson::SUCCESS) {
      return bad(described(instances) + " Not formatted correctly. Expecting 'instances' to be a list");
    }
    if (RpcStatus read = reader.read_instances(list); !read.ok()) return read;
  } else if (RpcStatus read = reader.read_inputs(columns); !read.ok()) {
    return read;
  }
  signature.scale(inputs.floats);
  return inputs;
}

RpcResult<std::vector<std::vector<std::byte>>> read_examples(const object& root) {
  element examples;
  if (root.at_key("examples").get(examples) != simdjson::SUCCESS) {
    return bad("When method is classify or regress, key 'examples' is expected and was not found");
  }
  array list;
  if (examples.get(list) != simdjson::SUCCESS) return bad("'examples' value is not a list");
  std::optional<std::vector<std::byte>> shared;
  if (element context; root.at_key("context").get(context) == simdjson::SUCCESS) {
    if (RpcStatus read = read_example(context, shared); !read.ok()) return read;
  }
  std::vector<std::vector<std::byte>> images;
  for (const element example : list) {
    if (images.size() == kMaxImagesPerCall) {
      return bad(fmt::format("more than {} examples in one request", kMaxImagesPerCall));
    }
    std::optional<std::vector<std::byte>> image;
    if (RpcStatus read = read_example(example, image); !read.ok()) return read;
    if (!image.has_value()) image = shared;
    if (!image.has_value()) {
      return bad(
          fmt::format("Name: <unknown>, Feature: {} (data type: string) is required but could not be found.",
                      kImageFeature));
    }
    images.push_back(*std::move(image));
  }
  if (images.empty()) return bad("'examples' is an empty list");
  return images;
}

}  // namespace nacre
