#include "cli/help.h"

#include <sstream>
#include <utility>

namespace nacre {
namespace {

constexpr size_t kWidth = 80;

/// `text` with line ends in place of blanks, no line longer than `width` where there is a blank to break it.
std::string wrapped(const std::string& text, size_t width) {
  std::istringstream words(text);
  std::string result;
  size_t column = 0;
  for (std::string word; words >> word; column += word.size()) {
    if (column > 0 && column + 1 + word.size() > width) {
      result += '\n';
      column = 0;
    } else if (column > 0) {
      result += ' ';
      ++column;
    }
    result += word;
  }
  return result;
}

}  // namespace

HelpFormatter::HelpFormatter() {
  label("SUBCOMMAND", "COMMAND");
  label("Positionals", "Arguments");
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
  // CLI11 ends and begins a group of options with an empty line.
  for (size_t at = text.find("\n\n\n"); at != std::string::npos; at = text.find("\n\n\n", at))
    text.erase(at, 1);
  return text;
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_type_size() == 0) return "";
  // What follows the colon is a check of CLI11's; "TEXT" is what it calls whatever has no name.
  std::string type = option->get_type_name();
  type = type.substr(0, type.find(':'));
  std::string text = type == "TEXT" ? "" : " " + type;
  if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += "...";
  return option->get_required() ? text + " (required)" : text;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return wrapped(option->get_description(), kWidth - get_column_width());
}

}  // namespace nacre
