#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nacre::structure {

/// Each checker reads the project below `root` and returns what goes against a rule, one `file:line: reason`
/// a line, sorted. An empty list means that the rule holds.
using Violations = std::vector<std::string>;

/// The arrows of docs/architecture.md: which folders' headers a folder may include, and which folders may
/// include the headers of a third party.
Violations check_includes(const std::filesystem::path& root);

/// Text files name no path outside the project that only one machine has.
Violations check_foreign_paths(const std::filesystem::path& root);

/// No source file is longer than `limit` lines, but those of `allowed` (file: limit of its own).
Violations check_file_length(const std::filesystem::path& root, int limit,
                             const std::map<std::string, int>& allowed);

/// Every layers/*.cc that describes an op is a word in layers/CMakeLists.txt, from which the table of ops is
/// made.
Violations check_op_table(const std::filesystem::path& root);

/// Libraries (every folder but cli) never print, exit, throw, or allocate with a raw new; what they report is
/// a Status.
Violations check_library_manners(const std::filesystem::path& root);

/// The shared libraries that an ELF file loads, as `ldd` lists them; empty when it cannot be read.
std::vector<std::string> shared_libraries(const std::filesystem::path& binary);

/// Those of `libraries` that the main binary must not load: whoever runs it does not pay for a server, MPI or
/// Python.
std::vector<std::string> unwanted_libraries(const std::vector<std::string>& libraries);

/// `source` with comments and the contents of string and character literals blanked out; line breaks stay.
std::string code_only(std::string_view source);

}  // namespace nacre::structure
