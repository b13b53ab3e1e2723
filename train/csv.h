#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The most classes that there may be.
inline constexpr int32_t kMaxClasses = 65536;

/// kBadData unless `name` can be a class name: UTF-8 without control characters, not empty.
Status check_class_name(std::string_view name);

/// Bad rows of a list, or bad files of a folder, that are left out, up to a number. All are counted, so that
/// the error about one too many can say how many there are.
class BadRows {
 public:
  /// `what` is what one is called, a line or a file. `option` is the caller's name for `allowed`, such as
  /// "--skip-bad", which errors suggest; empty: they do not.
  explicit BadRows(int64_t allowed, std::string what = "line", std::string option = "")
      : allowed_(allowed), what_(std::move(what)), option_(std::move(option)) {}
  /// Lists or counts a bad one. An error of the operating system (kIo) is never one of them but given back.
  Status add(int64_t line, const Status& error);
  /// The error of the first that is more than allowed, with the number of all that were added.
  [[nodiscard]] Status check() const;
  /// The messages of all that were left out, in the order of the lines.
  [[nodiscard]] std::vector<std::string> messages() const;

 private:
  int64_t allowed_;
  std::string what_;
  std::string option_;
  std::multimap<int64_t, std::string> listed_;
  int64_t count_ = 0;
  Status first_refused_;
};

struct CsvRow {
  int64_t line = 0;  ///< counted from 1
  std::string file;  ///< as written
  int32_t label = 0;
};

struct CsvList {
  std::vector<std::string> labels;  ///< class names, by number
  std::vector<CsvRow> rows;         ///< at least 1
};

/// Parses a list of images: lines `file,label-name,label-number` in RFC 4180's quoting, except that a line
/// break cannot be quoted; LF or CRLF, a UTF-8 byte order mark, empty lines and a header line (a first line
/// without a number) are accepted. Names and numbers must go one to one; the numbers are 0 to classes - 1
/// without holes, below 65536. With `labels` given, a name must be one of them and its number its place. A
/// line is an error when it is longer than 64 KiB, holds a control character or not three fields, names a
/// file that a line before names, or has a class name that is empty or not UTF-8: kBadData `NAME:LINE:
/// reason`, or goes to `bad_rows`.
Result<CsvList> parse_csv(std::string_view text, const std::string& name,
                          const std::vector<std::string>& labels, BadRows& bad_rows);

/// Whether a list can name the file: it has no control character but tabs.
bool can_be_listed(std::string_view file);

/// A row as parse_csv reads it, with its LF; fields are quoted where they must be.
std::string csv_line(const std::string& file, const std::string& label_name, int64_t label);

/// The class names of a `labels.txt`: one a line, LF or CRLF, in the order of the classes, all different.
/// Errors are kBadData `NAME:LINE: reason`.
Result<std::vector<std::string>> parse_labels(std::string_view text, const std::string& name);

}  // namespace nacre
