#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "cli/session.h"
#include "engine/status.h"

namespace nacre {

/// A command with its options bound, ready to run. The status becomes the exit code, and its message the one
/// line on stderr; an error with an empty message exits with its code and says nothing more (the command has
/// said why).
using Command = std::function<Status(const Session&)>;

// One function per command, in cli/<command>.cc: adds the sub-command with its options, and has it put itself
// into `chosen` when the command line names it. Options live in a shared_ptr that the closures hold:
//
//   void add_verify_command(CLI::App& app, Command& chosen) {
//     auto options = std::make_shared<VerifyOptions>();
//     CLI::App* command = app.add_subcommand("verify", "...");
//     command->add_option("FILE", options->file, "...")->required();
//     command->callback([options, &chosen] {
//       chosen = [options](const Session& session) { return run(session, *options); };
//     });
//   }
void add_train_command(CLI::App& app, Command& chosen);
void add_eval_command(CLI::App& app, Command& chosen);
void add_export_command(CLI::App& app, Command& chosen);
void add_convert_command(CLI::App& app, Command& chosen);
void add_predict_command(CLI::App& app, Command& chosen);
void add_inspect_command(CLI::App& app, Command& chosen);
void add_verify_command(CLI::App& app, Command& chosen);
void add_diff_command(CLI::App& app, Command& chosen);
void add_models_command(CLI::App& app, Command& chosen);
void add_bench_command(CLI::App& app, Command& chosen);
void add_serve_command(CLI::App& app, Command& chosen);

/// `--threads N`, 1 to 1024; without it `threads` becomes available_threads() when the command is chosen (its
/// preparse_callback).
CLI::Option* add_threads_option(CLI::App& command, int& threads);
/// `--json`.
void add_json_option(CLI::App& command, bool& json);

/// Says what an error is and gives its exit code.
int exit_code(const Status& status);

/// All that a program does: runs it, and gives the exit code. No exception leaves it: kLimit when memory runs
/// out, kInternal for any other. A write to a pipe whose reader has gone, or over the limit of a file's size,
/// fails, and does not kill; standard descriptors that are closed stay of no use, and are given to no file.
int run_guarded(const std::function<int()>& program);

/// Parses the command line and runs the command, guarded. The result is the exit code.
int run_command_line(int argc, const char* const* argv);

/// "0.1.0"
std::string_view nacre_version();

}  // namespace nacre
