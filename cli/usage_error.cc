#include "cli/usage_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <vector>

namespace nacre {
namespace {

/// The program and the sub-commands that the command line names, outermost first.
std::vector<const CLI::App*> chain_of(const CLI::App& app) {
  std::vector<const CLI::App*> chain{&app};
  while (!chain.back()->get_subcommands().empty()) {
    chain.push_back(chain.back()->get_subcommands().front());
  }
  return chain;
}

/// How many letters must be put in, left out or replaced to make one word of the other (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (const char letter : a) {
    size_t diagonal = row[0]++;
    for (size_t k = 0; k < b.size(); ++k) {
      const size_t replaced = diagonal + (letter == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({replaced, row[k] + 1, row[k + 1] + 1});
    }
  }
  return row.back();
}

/// The one of `known` that `word` is nearest to; empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kFarthest = 2;
  constexpr size_t kLongest = 64;  // no option is longer, and a word from outside may be of any length
  std::string best;
  size_t best_distance = kFarthest + 1;
  if (word.size() > kLongest) return best;
  for (const std::string& name : known) {
    const size_t distance = edit_distance(word, name);
    if (distance < best_distance && distance < std::min(word.size(), name.size())) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* known : command.get_subcommands({})) names.push_back(known->get_name());
  return names;
}

/// What to say of the first word that `command` does not know.
std::string unknown_word(const CLI::App& command, const std::string& word) {
  if (word.starts_with('-')) {
    const std::string name = word.substr(0, word.find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : command.get_options()) {
      const std::vector<std::string>& names = option->get_lnames();
      known.insert(known.end(), names.begin(), names.end());
    }
    const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    const std::string near = nearest(bare, known);
    return fmt::format("unknown option {}{}", name, near.empty() ? "" : "; did you mean --" + near + "?");
  }
  const std::vector<std::string> commands = command_names(command);
  if (commands.empty()) return fmt::format("unexpected argument {}", word);
  const std::string near = nearest(word, commands);
  return fmt::format("unknown command {}{}; known are {}", word,
                     near.empty() ? "" : " (did you mean " + near + "?)", fmt::join(commands, ", "));
}

/// "FILE", "--data": what is required of `command` and not given.
std::vector<std::string> missing_options(const CLI::App& command) {
  std::vector<std::string> missing;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_required() && option->count() == 0) missing.push_back(option->get_name());
  }
  return missing;
}

/// CLI11's message in the style of ours.
std::string reworded(std::string text) {
  const auto replace = [&text](std::string_view before, std::string_view after) {
    const size_t at = text.find(before);
    if (at != std::string::npos) text.replace(at, before.size(), after);
    return at != std::string::npos;
  };
  if (replace("At Most 1 required but received ", "expected once, found ")) text += " times";
  if (text.ends_with(" missing") && replace(": 1 required ", ": needs a value ")) {
    text.erase(text.size() - std::string_view(" missing").size());
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  const size_t end = text.find_last_not_of(" .");
  text.erase(end == std::string::npos ? 0 : end + 1);
  return text;
}

std::string reason_of(const std::vector<const CLI::App*>& chain, const CLI::ParseError& error) {
  // What is not known comes first: a misspelt option is the reason why the right one is missing.
  for (const CLI::App* command : chain) {
    const std::vector<std::string> words = command->remaining();
    if (!words.empty()) return unknown_word(*command, words.front());
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    if (const auto missing = missing_options(*chain.back()); !missing.empty()) {
      return are_required(missing);
    }
    if (const auto commands = command_names(*chain.back()); !commands.empty()) {
      return fmt::format("expected a command: {}", fmt::join(commands, ", "));
    }
  }
  return reworded(error.what());
}

}  // namespace

std::string are_required(const std::vector<std::string>& names) {
  if (names.size() == 1) return names.front() + " is required";
  return fmt::format("{} and {} are required", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

std::string usage_reason(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<const CLI::App*> chain = chain_of(app);
  return usage_message(chain, reason_of(chain, error));
}

std::string usage_message(const std::vector<const CLI::App*>& chain, const std::string& reason) {
  std::vector<std::string> names;
  for (const CLI::App* command : chain) names.push_back(command->get_name());
  const std::string whole = fmt::format("{}", fmt::join(names, " "));
  if (names.size() == 1) return fmt::format("{} (see {} --help)", reason, whole);
  return fmt::format("{}: {} (see {} --help)", whole.substr(names.front().size() + 1), reason, whole);
}

}  // namespace nacre
