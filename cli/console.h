#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// Writes all of `text` to stdout at once (no buffer, no newline added). An error is kIo `standard output:
/// reason`; one without a message when the reader has gone (a broken pipe), so that the program ends quietly.
Status print(std::string_view text);

/// Writes `nacre: message` and a newline to stderr: warnings, errors and progress in lines. Control
/// characters are shown as \xNN, so that it stays one line whatever a file name holds.
void print_message(std::string_view message);
/// What it writes, without the newline.
std::string message_line(std::string_view message);

/// `text` with control characters as \xNN.
std::string printable(std::string_view text);

/// Columns of text, aligned for a terminal: for human eyes only.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// One cell for each column.
  void add_row(std::vector<std::string> cells);
  /// A line of dashes.
  void add_rule() { rows_.emplace_back(); }
  /// The table with its titles; every line ends in a newline, none in blanks.
  [[nodiscard]] std::string to_string() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // empty: a rule
};

/// 1234567 as "1,234,567".
std::string with_commas(int64_t number);

/// The first ones of `names`, joined: "a, b, c and 4 more".
std::string listed(const std::vector<std::string>& names, std::string_view separator = ", ");

/// "1 image", "1,234 images"; `many` where the plural is no "s" more.
std::string counted(int64_t number, std::string_view one, std::string_view many = "");

}  // namespace nacre
