#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// Becomes nacre-serve, the program beside this one's own file.
Status become_server(std::vector<std::string> arguments) {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return {StatusCode::kIo, "/proc/self/exe: " + error.message()};
  const std::string server = (self.parent_path() / "nacre-serve").string();
  std::string name = "nacre-serve";
  std::vector<char*> argv = {name.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(server.c_str(), argv.data());
  const int reason = errno;
  const char* hint = reason == ENOENT ? "; nacre and nacre-serve must lie in the same folder" : "";
  return {StatusCode::kIo, fmt::format("{}: {}{}", server, std::strerror(reason), hint)};
}

}  // namespace

void add_serve_command(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("serve", "serve models as TensorFlow Serving does");
  command->prefix_command();
  // The server has its own help.
  command->set_help_flag();
  command->callback([command, &chosen] {
    chosen = [arguments = command->remaining()](const Session& /*session*/) {
      return become_server(arguments);
    };
  });
}

}  // namespace nacre
