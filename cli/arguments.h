#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The words of a command line in the form that `app` (with its options added) takes them for what they are.
/// CLI11 reads two otherwise: of `--name=` it takes the next word for the value, which here is an error
/// (kUsage); and of `[x]` among many arguments it makes a list, so that here it becomes the path `./[x]`.
Result<std::vector<std::string>> plain_arguments(const CLI::App& app, std::vector<std::string> words);

/// Parses them; throws what CLI11 does.
void parse_arguments(CLI::App& app, std::vector<std::string> words);

}  // namespace nacre
