#include "serialize/tensorflow/checkpoint_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/file.h"
#include "serialize/atomic_file.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFileName = "checkpoint";
constexpr std::string_view kLatest = "model_checkpoint_path";
constexpr std::string_view kAll = "all_model_checkpoint_paths";

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Of an escape such as \n or \"; 0 for others.
char plain_escape(char c) {
  constexpr std::string_view kFrom = "nrtabfv\\'\"?";
  constexpr std::string_view kTo = "\n\r\t\a\b\f\v\\'\"?";
  const size_t at = kFrom.find(c);
  return at == std::string_view::npos ? '\0' : kTo[at];
}

/// Reads `name: value` lines of protobuf's text format.
class TextReader {
 public:
  explicit TextReader(std::string_view text) : left_(text) {}

  Result<CheckpointState> read() {
    CheckpointState state;
    bool has_latest = false;
    for (skip_space(); !left_.empty(); skip_space()) {
      const std::string_view name = take_while(is_word);
      skip_space();
      if (name.empty() || !take(':')) return bad("expected NAME: VALUE");
      skip_space();
      if (name == kLatest || name == kAll) {
        if (!at_quote()) return bad(fmt::format("{}: expected a text in quotes", name));
        NACRE_ASSIGN_OR_RETURN(std::string path, take_text());
        if (path.empty() || path.find('\0') != std::string::npos)
          return bad(fmt::format("{}: no path", name));
        if (name == kAll) {
          state.all.push_back(std::move(path));
        } else {
          state.latest = std::move(path);
          has_latest = true;
        }
      } else if (at_quote()) {
        NACRE_RETURN_IF_ERROR(take_text().status());
      } else if (take_while([](char c) { return is_word(c) || c == '.' || c == '-' || c == '+'; }).empty()) {
        return bad(fmt::format("{}: expected a number, a word or a text", name));
      }
      skip_space();
      if (!take(',')) take(';');
    }
    if (!has_latest) return bad(fmt::format("has no {}", kLatest));
    return state;
  }

 private:
  Status bad(const std::string& reason) const {
    return {StatusCode::kCorrupt, fmt::format("line {}: {}", line_, reason)};
  }
  [[nodiscard]] bool at_quote() const { return left_.starts_with('"') || left_.starts_with('\''); }
  bool take(char c) {
    if (!left_.starts_with(c)) return false;
    drop(1);
    return true;
  }
  void drop(size_t count) {
    line_ += std::ranges::count(left_.substr(0, count), '\n');
    left_.remove_prefix(count);
  }
  template <typename Accepts>
  std::string_view take_while(Accepts accepts) {
    const auto* end = std::ranges::find_if_not(left_, accepts);
    const std::string_view taken = left_.substr(0, static_cast<size_t>(end - left_.begin()));
    drop(taken.size());
    return taken;
  }
  void skip_space() {
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
    take_while(is_space);
    while (left_.starts_with('#')) {
      take_while([](char c) { return c != '\n'; });
      take_while(is_space);
    }
  }

  /// Texts in quotes, one or more that follow each other and are one.
  Result<std::string> take_text() {
    std::string text;
    while (at_quote()) {
      const char quote = left_.front();
      drop(1);
      while (!take(quote)) {
        if (left_.empty() || left_.front() == '\n') return bad("a text without end");
        if (left_.front() == '\\') {
          const auto escaped = take_escape();
          if (!escaped.has_value()) return bad("an escape that is not known");
          text += *escaped;
        } else {
          text += left_.front();
          drop(1);
        }
      }
      skip_space();
    }
    return text;
  }

  std::optional<char> take_escape() {
    drop(1);
    if (left_.empty()) return std::nullopt;
    const char c = left_.front();
    if (const char plain = plain_escape(c); plain != '\0') {
      drop(1);
      return plain;
    }
    const bool is_hex = c == 'x' || c == 'X';
    if (is_hex) drop(1);
    return take_digits(is_hex ? 16 : 8, is_hex ? 2 : 3);
  }

  /// A byte as up to `most` digits.
  std::optional<char> take_digits(int base, size_t most) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    int value = 0;
    size_t count = 0;
    for (; count < most && count < left_.size(); ++count) {
      const char lower = static_cast<char>(
          left_[count] >= 'A' && left_[count] <= 'F' ? left_[count] + ('a' - 'A') : left_[count]);
      const size_t digit = kDigits.substr(0, static_cast<size_t>(base)).find(lower);
      if (digit == std::string_view::npos) break;
      value = value * base + static_cast<int>(digit);
    }
    if (count == 0 || value > 0xff) return std::nullopt;
    drop(count);
    return static_cast<char>(value);
  }

  std::string_view left_;
  int64_t line_ = 1;
};

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c >= 0x20 && c < 0x7f) {
      result += c;
    } else {
      result += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    }
  }
  return result + '"';
}

Result<CheckpointState> read_state(const std::string& folder) {
  const std::string path = (fs::path(folder) / kFileName).string();
  NACRE_RETURN_IF_ERROR(check_within_folder(path, folder));
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxCheckpointStateBytes));
  auto state = parse_checkpoint_state({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!state.ok()) return state.status().at(path);
  return state;
}

}  // namespace

Result<CheckpointState> parse_checkpoint_state(std::string_view text) {
  return TextReader(text).read();
}

std::string checkpoint_state_text(const CheckpointState& state) {
  std::string text = fmt::format("{}: {}\n", kLatest, in_quotes(state.latest));
  for (const std::string& path : state.all) text += fmt::format("{}: {}\n", kAll, in_quotes(path));
  return text;
}

Result<std::string> latest_tf_checkpoint(const std::string& folder) {
  NACRE_ASSIGN_OR_RETURN(const CheckpointState state, read_state(folder));
  fs::path latest = fs::path(state.latest).lexically_normal();
  if (latest.is_absolute() || *latest.begin() == "..") latest = latest.filename();
  return (fs::path(folder) / latest).string();
}

Result<CheckpointState> state_with_checkpoint(const std::string& prefix) {
  const fs::path path(prefix);
  const std::string folder = path.parent_path().string();
  CheckpointState state;
  std::error_code error;
  if (fs::exists(fs::symlink_status(fs::path(folder) / kFileName, error))) {
    NACRE_ASSIGN_OR_RETURN(state, read_state(folder));
  }
  state.latest = path.filename().string();
  std::erase(state.all, state.latest);
  state.all.push_back(state.latest);
  return state;
}

Status write_checkpoint_state(const std::string& folder, const CheckpointState& state,
                              FileSystem& file_system) {
  return atomic_write_text((fs::path(folder) / kFileName).string(), checkpoint_state_text(state),
                           /*overwrite=*/true, file_system);
}

}  // namespace nacre
