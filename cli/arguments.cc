#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/usage_error.h"

namespace nacre {
namespace {

const CLI::App* command_named(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

bool takes_many_arguments(const CLI::App& command) {
  const std::vector<const CLI::Option*> options = command.get_options();
  return std::any_of(options.begin(), options.end(), [](const CLI::Option* option) {
    return option->get_positional() && option->get_allow_extra_args();
  });
}

}  // namespace

Result<std::vector<std::string>> plain_arguments(const CLI::App& app, std::vector<std::string> words) {
  std::vector<const CLI::App*> chain{&app};
  for (std::string& word : words) {
    if (const CLI::App* command = command_named(*chain.back(), word); command != nullptr) {
      chain.push_back(command);
    } else if (word.starts_with('[') && word.ends_with(']') && takes_many_arguments(*chain.back())) {
      word.insert(0, "./");
    } else if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      word.pop_back();
      const CLI::Option* option = chain.back()->get_option_no_throw(word);
      if (option != nullptr && option->get_items_expected_max() > 0) {
        std::string type = option->get_type_name();
        type = type.substr(0, type.find(':'));  // what follows is a check of CLI11's
        return Status(StatusCode::kUsage,
                      usage_message(chain, fmt::format("{}: needs a value {}", word, type)));
      }
      word += '=';  // of a flag or unknown: CLI11 says so
    }
  }
  return words;
}

void parse_arguments(CLI::App& app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  app.parse(std::move(words));
}

}  // namespace nacre
