#include "train/csv.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <unordered_map>
#include <utility>

namespace nacre {
namespace {

constexpr size_t kMaxLineBytes = size_t{64} << 10;
constexpr size_t kFields = 3;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

Status bad(std::string reason) {
  return {StatusCode::kBadData, std::move(reason)};
}

// Text of the file as part of a message: bounded, and printable whatever it holds.
std::string quote(std::string_view text) {
  constexpr size_t kMaxShown = 120;
  std::string shown = "'";
  for (const char c : text.substr(0, kMaxShown))
    shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return shown + (text.size() > kMaxShown ? "...'" : "'");
}

bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const size_t extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < extra) return false;
    uint32_t point = lead & (0x3fU >> extra);
    for (size_t k = 0; k < extra; ++k) {
      const auto next = static_cast<unsigned char>(text[i++]);
      if ((next & 0xc0U) != 0x80U) return false;
      point = point << 6 | (next & 0x3fU);
    }
    const bool overlong = (extra == 2 && point < 0x800) || (extra == 3 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
  }
  return true;
}

// Takes the next line off `text`, without its LF or CRLF.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

Status check_line(std::string_view line) {
  if (line.size() > kMaxLineBytes) {
    return bad("the line is longer than " + std::to_string(kMaxLineBytes) + " bytes");
  }
  for (size_t i = 0; i < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    if (c == 0) return bad("NUL at byte " + std::to_string(i + 1) + " of the line");
    if ((c < 0x20 && c != '\t') || c == 0x7f) {
      return bad("control character " + std::to_string(c) + " at byte " + std::to_string(i + 1) +
                 " of the line");
    }
  }
  return {};
}

Result<std::vector<std::string>> split_fields(std::string_view line) {
  std::vector<std::string> fields(1);
  size_t i = 0;
  while (true) {
    std::string& field = fields.back();
    if (i < line.size() && line[i] == '"') {
      ++i;
      while (true) {
        const size_t quote_at = line.find('"', i);
        if (quote_at == std::string_view::npos) return bad("a quote is not closed");
        field += line.substr(i, quote_at - i);
        i = quote_at + 1;
        if (i >= line.size() || line[i] != '"') break;
        field += '"';
        ++i;
      }
      if (i < line.size() && line[i] != ',') return bad("text after a closing quote");
    } else {
      const size_t end = std::min(line.find(',', i), line.size());
      field = line.substr(i, end - i);
      if (field.find('"') != std::string::npos) return bad("a quote inside a field that is not quoted");
      i = end;
    }
    if (i >= line.size()) return fields;
    ++i;
    fields.emplace_back();
    if (fields.size() > kFields) {
      return bad("more than 3 fields, expected file,label-name,label-number");
    }
  }
}

bool parse_number(std::string_view text, int32_t& number) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// A title of a column: unlike a file name it has no dot and no slash.
bool looks_like_title(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' ||
           c == '_' || c == '-';
  });
}

bool is_header(const std::vector<std::string>& fields) {
  int32_t number = 0;
  return fields.size() == kFields && looks_like_title(fields[0]) && looks_like_title(fields[2]) &&
         !parse_number(fields[2], number) && !(fields[2][0] >= '0' && fields[2][0] <= '9') &&
         fields[2][0] != '-';
}

class ListBuilder {
 public:
  ListBuilder(std::string name, const std::vector<std::string>& labels)
      : name_(std::move(name)), given_(!labels.empty()) {
    for (size_t i = 0; i < labels.size(); ++i) {
      numbers_.emplace(labels[i], Class{static_cast<int32_t>(i), 0});
      names_.emplace(static_cast<int32_t>(i), labels[i]);
    }
  }

  Status add(std::vector<std::string> fields, int64_t line) {
    if (fields.size() != kFields) {
      return bad(std::to_string(fields.size()) + (fields.size() == 1 ? " field" : " fields") +
                 ", expected file,label-name,label-number");
    }
    if (fields[0].empty()) return bad("the file name is empty");
    NACRE_RETURN_IF_ERROR(check_class_name(fields[1]));
    int32_t number = 0;
    if (!parse_number(fields[2], number))
      return bad("the label number " + quote(fields[2]) + " is not a number");
    if (number < 0 || number >= kMaxClasses) {
      return bad("label number " + quote(fields[2]) + ", expected 0 to " + std::to_string(kMaxClasses - 1));
    }
    const std::string key = std::filesystem::path(fields[0]).lexically_normal().string();
    if (const auto seen = files_.find(key); seen != files_.end()) {
      return bad("duplicate of line " + std::to_string(seen->second) + ": " + quote(fields[0]));
    }
    NACRE_RETURN_IF_ERROR(check_class(fields[1], number));
    files_.emplace(key, line);
    numbers_.try_emplace(fields[1], Class{number, line});
    names_.try_emplace(number, fields[1]);
    rows_.push_back({line, std::move(fields[0]), number});
    return {};
  }

  Result<CsvList> finish() && {
    if (rows_.empty())
      return bad("no images are listed, expected lines file,label-name,label-number").at(name_);
    CsvList list;
    for (auto& [number, name] : names_) {
      const auto expected = static_cast<int32_t>(list.labels.size());
      if (number != expected) {
        return bad("no line has label number " + std::to_string(expected) + ", but one has " +
                   std::to_string(number) + ": the numbers must be 0 to classes - 1 without holes")
            .at(name_);
      }
      list.labels.push_back(std::move(name));
    }
    list.rows = std::move(rows_);
    return list;
  }

 private:
  struct Class {
    int32_t number;
    int64_t line;
  };

  [[nodiscard]] Status check_class(const std::string& name, int32_t number) const {
    const auto by_name = numbers_.find(name);
    if (by_name == numbers_.end() && given_) {
      return bad("unknown label " + quote(name) + ": not one of the " + std::to_string(numbers_.size()) +
                 " classes");
    }
    if (by_name != numbers_.end() && by_name->second.number != number) {
      return bad("label " + quote(name) + " has number " + std::to_string(number) + " here, but " +
                 std::to_string(by_name->second.number) +
                 (given_ ? " in the given classes" : " in line " + std::to_string(by_name->second.line)));
    }
    const auto by_number = names_.find(number);
    if (by_number != names_.end() && by_number->second != name) {
      return bad("label number " + std::to_string(number) + " is " + quote(name) + " here, but " +
                 quote(by_number->second) + " in line " +
                 std::to_string(numbers_.at(by_number->second).line));
    }
    return {};
  }

  std::string name_;
  bool given_;
  std::vector<CsvRow> rows_;
  std::unordered_map<std::string, int64_t> files_;
  std::unordered_map<std::string, Class> numbers_;
  std::map<int32_t, std::string> names_;
};

}  // namespace

Status check_class_name(std::string_view name) {
  if (name.empty()) return bad("the class name is empty");
  if (!is_utf8(name)) return bad("the class name is not UTF-8");
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(name.begin(), name.end(), is_control))
    return bad("the class name holds a control character");
  return {};
}

Status BadRows::add(int64_t line, const Status& error) {
  // A disk that fails says nothing of the file: leaving it out would train on other data than asked for.
  if (error.code() == StatusCode::kIo) return error;
  if (count_++ < allowed_) {
    listed_.emplace(line, error.message());
  } else if (first_refused_.ok()) {
    first_refused_ = error;
  }
  return {};
}

Status BadRows::check() const {
  if (first_refused_.ok()) return {};
  std::string found = std::to_string(count_) + " bad " + what_ + (count_ == 1 ? "" : "s") + " found";
  const std::string allowed = std::to_string(allowed_);
  if (allowed_ == 0 && !option_.empty()) {
    found += "; " + option_ + " N leaves such " + what_ + "s out";
  } else if (allowed_ > 0) {
    found += option_.empty() ? ", " + allowed + " may be left out"
                             : "; " + option_ + " " + allowed + " leaves out " + allowed;
  }
  return {first_refused_.code(), first_refused_.message() + " (" + found + ")"};
}

std::vector<std::string> BadRows::messages() const {
  std::vector<std::string> messages;
  for (const auto& [line, message] : listed_) messages.push_back(message);
  return messages;
}

Result<CsvList> parse_csv(std::string_view text, const std::string& name,
                          const std::vector<std::string>& labels, BadRows& bad_rows) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  ListBuilder builder(name, labels);
  for (int64_t line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    Status status = check_line(line);
    if (status.ok()) {
      Result<std::vector<std::string>> fields = split_fields(line);
      if (fields.ok() && line_number == 1 && is_header(*fields)) continue;
      status = fields.ok() ? builder.add(std::move(*fields), line_number) : fields.status();
    }
    if (!status.ok())
      NACRE_RETURN_IF_ERROR(bad_rows.add(line_number, status.at(name + ":" + std::to_string(line_number))));
  }
  NACRE_RETURN_IF_ERROR(bad_rows.check());
  return std::move(builder).finish();
}

bool can_be_listed(std::string_view file) {
  return check_line(file).ok();
}

std::string csv_line(const std::string& file, const std::string& label_name, int64_t label) {
  const auto field = [](const std::string& text) {
    if (text.find_first_of(",\"") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + "\"";
  };
  return field(file) + "," + field(label_name) + "," + std::to_string(label) + "\n";
}

Result<std::vector<std::string>> parse_labels(std::string_view text, const std::string& name) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::vector<std::string> labels;
  std::unordered_map<std::string_view, int64_t> seen;
  for (int64_t line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = take_line(text);
    const std::string place = name + ":" + std::to_string(line_number);
    Status status = check_line(line);
    if (status.ok()) status = check_class_name(line);
    if (!status.ok()) return status.at(place);
    if (const auto [first, added] = seen.emplace(line, line_number); !added) {
      return bad("class " + quote(line) + " is also in line " + std::to_string(first->second)).at(place);
    }
    if (labels.size() >= static_cast<size_t>(kMaxClasses)) {
      return bad("more than " + std::to_string(kMaxClasses) + " classes").at(place);
    }
    labels.emplace_back(line);
  }
  if (labels.empty()) return bad("no class names, expected one a line").at(name);
  return labels;
}

}  // namespace nacre
