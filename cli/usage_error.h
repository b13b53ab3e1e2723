#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace nacre {

/// What is wrong with a command line, as one line: the first word that is not known, with what is meant by it
/// or what is known; all options that are missing; or what CLI11 says, in words like ours. Ends with the help
/// to ask for.
std::string usage_reason(const CLI::App& app, const CLI::ParseError& error);

/// "eval: reason (see nacre eval --help)" of the program and the sub-commands in it that a command line
/// names.
std::string usage_message(const std::vector<const CLI::App*>& chain, const std::string& reason);

/// "--data is required", "FILE, --data and --out are required".
std::string are_required(const std::vector<std::string>& names);

}  // namespace nacre
