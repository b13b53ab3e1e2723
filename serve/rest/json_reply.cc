#include "serve/rest/json_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

#include "serialize/utf8.h"

namespace nacre {
namespace {

/// Appends `[a, b]`, one item for each of `count`.
template <typename Item>
void append_list(std::string& out, size_t count, const Item& item) {
  out += '[';
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    item(i);
  }
  out += ']';
}

void append_key(std::string& out, std::string_view key) {
  append_json(out, key);
  out += ": ";
}

void append_floats(std::string& out, std::span<const float> values) {
  append_list(out, values.size(), [&](size_t i) { append_json(out, values[i]); });
}

/// One row of the output `index` of a signature.
void append_output(std::string& out, const Servable& servable, const ServedSignature& signature, size_t index,
                   std::span<const float> row) {
  if (signature.output != OutputForm::kRanked) return append_floats(out, row);
  const std::vector<Prediction> ranked = servable.model().best(row, row.size());
  append_list(out, ranked.size(), [&](size_t i) {
    if (index == 0) {
      append_json(out, servable.labels()[ranked[i].index]);
    } else {
      append_json(out, ranked[i].probability);
    }
  });
}

std::string_view tensor_type(const SignatureTensor& tensor) {
  if (tensor.dtype == "string") return "DT_STRING";
  return tensor.dtype == "uint8" ? "DT_UINT8" : "DT_FLOAT";
}

void append_tensors(std::string& out, std::string_view key, const std::vector<SignatureTensor>& tensors) {
  out += fmt::format("\"{}\": {{", key);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const SignatureTensor& tensor = tensors[i];
    if (i > 0) out += ',';
    out += '\n';
    append_key(out, tensor.name);
    out += fmt::format("{{\"dtype\": \"{}\", \"tensor_shape\": {{\"dim\": ", tensor_type(tensor));
    append_list(out, tensor.shape.size(),
                [&](size_t d) { out += fmt::format(R"({{"size": "{}", "name": ""}})", tensor.shape[d]); });
    out += R"(, "unknown_rank": false}, "name": )";
    append_json(out, tensor.name + ":0");
    out += '}';
  }
  out += "}";
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      // As many bytes as make a character, or one that is none.
      size_t length = 2;
      while (length <= 4 && !is_utf8(text.substr(i, length))) ++length;
      if (length <= 4 && i + length <= text.size()) {
        out += text.substr(i, length);
        i += length;
      } else {
        out += "\xEF\xBF\xBD";
        ++i;
      }
      continue;
    }
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[i];
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += text[i];
    }
    ++i;
  }
  out += '"';
}

void append_json(std::string& out, float value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
    return;
  }
  // Six digits where these come back as the same number, else nine.
  std::array<char, 32> room{};
  const auto written = [&](auto... format) {
    return std::string_view(room.data(), std::to_chars(room.begin(), room.end(), value, format...).ptr);
  };
  const std::string_view shortest = written(std::chars_format::scientific);
  const size_t digits = shortest.substr(value < 0 ? 1 : 0).find('e');  // and a point
  const std::string_view text = written(std::chars_format::general, digits <= 7 ? 6 : 9);
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

std::string error_json(std::string_view message) {
  std::string out = "{\n    \"error\": ";
  append_json(out, message);
  return out + "\n}\n";
}

std::string predict_json(const Servable& servable, const ServedSignature& signature, const Scores& scores,
                         ReplyForm form, std::span<const std::string> keys) {
  const std::vector<SignatureTensor>& outputs = signature.info.outputs;
  std::string out;
  const auto output_of_row = [&](size_t output, size_t row) {
    append_output(out, servable, signature, output, scores.row(row));
  };
  if (form == ReplyForm::kRows || form == ReplyForm::kNamed) {
    const bool named = form == ReplyForm::kNamed || outputs.size() > 1;
    out = "{\n    \"predictions\": ";
    append_list(out, scores.rows, [&](size_t row) {
      if (!named) return output_of_row(0, row);
      out += '{';
      if (row < keys.size() && !keys[row].empty()) out += "\"key\": " + keys[row] + ", ";
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (i > 0) out += ", ";
        append_key(out, outputs[i].name);
        output_of_row(i, row);
      }
      out += '}';
    });
    return out + "\n}\n";
  }
  const auto column = [&](size_t output) {
    if (form == ReplyForm::kScalar) return output_of_row(output, 0);
    append_list(out, scores.rows, [&](size_t row) { output_of_row(output, row); });
  };
  out = "{\n    \"outputs\": ";
  if (outputs.size() == 1) {
    column(0);
  } else {
    for (size_t i = 0; i < outputs.size(); ++i) {
      out += i == 0 ? "{" : ", ";
      append_key(out, outputs[i].name);
      column(i);
    }
    out += '}';
  }
  return out + "\n}\n";
}

std::string classify_json(const Servable& servable, const Scores& scores) {
  std::string out = "{\n    \"results\": ";
  append_list(out, scores.rows, [&](size_t row) {
    append_list(out, scores.classes, [&](size_t i) {
      out += '[';
      append_json(out, servable.labels()[i]);
      out += ", ";
      append_json(out, scores.row(row)[i]);
      out += ']';
    });
  });
  return out + "\n}\n";
}

std::string regress_json(const Scores& scores) {
  std::string out = "{\n    \"results\": ";
  append_floats(out, scores.values);
  return out + "\n}\n";
}

std::string status_json(const std::vector<VersionStatus>& statuses) {
  std::string out = "{\n \"model_version_status\": [";
  for (size_t i = 0; i < statuses.size(); ++i) {
    const VersionStatus& status = statuses[i];
    out += fmt::format(
        "{}\n  {{\n   \"version\": \"{}\",\n   \"state\": \"{}\",\n   \"status\": {{\n    \"error_code\": "
        "\"{}\",\n"
        "    \"error_message\": ",
        i == 0 ? "" : ",", status.version, version_state_name(status.state),
        rpc_code_name(status.status.code()));
    append_json(out, status.status.message());
    out += "\n   }\n  }";
  }
  return out + "\n ]\n}\n";
}

std::string metadata_json(const Servable& servable) {
  std::string out = "{\n\"model_spec\": {\n ";
  append_key(out, "name");
  append_json(out, servable.name());
  out += fmt::format(
      ",\n \"signature_name\": \"\",\n \"version\": \"{}\"\n}},\n\"metadata\": {{\"signature_def\": {{\n"
      " \"signature_def\": {{",
      servable.version());
  for (size_t i = 0; i < servable.signatures().size(); ++i) {
    const Signature& signature = servable.signatures()[i].info;
    out += i == 0 ? "\n" : ",\n";
    append_key(out, signature.name);
    out += '{';
    append_tensors(out, "inputs", signature.inputs);
    out += ",\n";
    append_tensors(out, "outputs", signature.outputs);
    out += ",\n";
    append_key(out, "method_name");
    append_json(out, signature.method);
    out += ",\n\"defaults\": {}}";
  }
  return out + "\n }\n}\n}\n}\n";
}

}  // namespace nacre
