#include "cli/command.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <new>

#include "cli/arguments.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/usage_error.h"
#include "engine/isa.h"
#include "engine/parallel.h"
#include "layers/registry.h"

namespace nacre {
namespace {

constexpr int kMaxThreads = 1024;

Status run_session(const Command& chosen) {
  NACRE_ASSIGN_OR_RETURN(const Isa isa, isa_from_environment());
  use_isa(isa);
  const Session session{builtin_ops(), isa_is_reference(isa)};
  return chosen(session);
}

/// A standard descriptor that the program was started without would go to the next file that is opened, and
/// with it what is printed. What stands in for it fails to be read or written, as a closed one does.
void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // It takes the lowest number that is free: fd.
    static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

int parse_and_run(int argc, const char* const* argv) {
  CLI::App app("nacre trains, exports and runs image classifiers on a CPU.", "nacre");
  app.set_version_flag("--version", "nacre " + std::string(nacre_version()), "print the version");
  app.set_help_flag("--help,-h", "print this help");
  app.require_subcommand(0, 1);
  app.formatter(std::make_shared<HelpFormatter>());
  Command chosen;
  for (const auto add_command :
       {add_train_command, add_eval_command, add_export_command, add_convert_command, add_predict_command,
        add_inspect_command, add_verify_command, add_diff_command, add_models_command, add_bench_command,
        add_serve_command}) {
    add_command(app, chosen);
  }
  // After the commands, which would take it over.
  app.footer(
      "nacre COMMAND --help lists a command's options. To begin with:\n"
      "  nacre train --model face96 --data photos --validation 0.2 --out runs/photos");
  const Result<std::vector<std::string>> words =
      plain_arguments(app, {argv + std::min(argc, 1), argv + argc});
  if (!words.ok()) return exit_code(words.status());
  try {
    parse_arguments(app, *words);
  } catch (const CLI::CallForVersion&) {
    return exit_code(print("nacre " + std::string(nacre_version()) + "\n"));
  } catch (const CLI::Success&) {
    return exit_code(print(app.help()));
  } catch (const CLI::ParseError& error) {
    return exit_code({StatusCode::kUsage, usage_reason(app, error)});
  }
  if (!chosen) {
    const Status printed = print(app.help());
    return exit_code(printed.ok() ? Status(StatusCode::kUsage, "") : printed);
  }
  return exit_code(run_session(chosen));
}

}  // namespace

PlanOptions Session::plan_options(Mode mode, int64_t batch, int threads) const {
  PlanOptions options;
  options.batch = batch;
  options.mode = mode;
  options.threads = threads;
  options.reference = reference;
  return options;
}

ModelOptions Session::model_options(int64_t batch, int threads) const {
  ModelOptions options;
  options.batch = batch;
  options.threads = threads;
  options.reference = reference;
  return options;
}

CLI::Option* add_threads_option(CLI::App& command, int& threads) {
  threads = 0;
  // Asked of the system only for the command that is used, before its options are read.
  command.preparse_callback([&threads](size_t /*arguments*/) { threads = available_threads(); });
  return command
      .add_option("--threads", threads, "threads to compute with (default: the CPUs allowed to this process)")
      ->check(CLI::Range(1, kMaxThreads))
      ->type_name("N");
}

void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "print JSON");
}

std::string_view nacre_version() {
  return NACRE_VERSION;
}

int exit_code(const Status& status) {
  if (!status.ok() && !status.message().empty()) print_message(status.message());
  return static_cast<int>(status.code());
}

int run_guarded(const std::function<int()>& program) {
  try {
    occupy_standard_descriptors();
    // A write to a pipe whose reader has gone shall fail, not kill: a training run goes on.
    std::signal(SIGPIPE, SIG_IGN);
    // So shall one over the limit of a file's size: it is an error that leaves no temporary behind.
    std::signal(SIGXFSZ, SIG_IGN);
    return program();
  } catch (const std::bad_alloc&) {
    print_message("out of memory");
    return static_cast<int>(StatusCode::kLimit);
  } catch (const std::exception& error) {
    print_message(std::string("internal error: ") + error.what());
    return static_cast<int>(StatusCode::kInternal);
  } catch (...) {
    print_message("internal error: unknown exception");
    return static_cast<int>(StatusCode::kInternal);
  }
}

int run_command_line(int argc, const char* const* argv) {
  return run_guarded([=] { return parse_and_run(argc, argv); });
}

}  // namespace nacre
