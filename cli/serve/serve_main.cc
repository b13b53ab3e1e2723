#include "cli/serve/serve_main.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/serve/options.h"
#include "engine/isa.h"
#include "serve/config_file.h"
#include "serve/log_writer.h"

namespace nacre {
namespace {

/// As many files and connections as the system allows: the default is meant for programs that use select().
void raise_file_limit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

/// Weights get pages of their own and give them back when their version is freed. Left alone, malloc takes
/// ever larger blocks from its heaps after the first is freed, which then never shrink: memory grew with
/// every swap. Smaller ones stay with the process: each request takes a few hundred kilobytes, and memory
/// that was given back costs a page fault for every four kilobytes.
void tune_memory() {
  constexpr int kLargeBlock = 1 << 20;
  constexpr int kKept = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  mallopt(M_TRIM_THRESHOLD, kKept);
}

/// Waits for SIGTERM or SIGINT, which are blocked.
void wait_for_signal(const sigset_t& signals) {
  while (sigwaitinfo(&signals, nullptr) <= 0) {
  }
}

/// Serves what the configuration file says by now; a file that cannot be read changes nothing, and is told of
/// when `told` is another message.
void reload_config(ServeCore& core, const ServeOptions& options, std::vector<ModelConfig>& current,
                   std::string& told) {
  auto models = read_model_configs(options.model_config_file);
  const std::string fault = models.status().message();
  if (std::exchange(told, fault) != fault && !models.ok()) core.log(fault);
  if (!models.ok() || *models == current) return;
  current = *models;
  if (const RpcStatus reloaded = core.models.reload(*std::move(models)); !reloaded.ok()) {
    core.log(options.model_config_file + ": " + reloaded.message());
  }
}

Status serve(const ServeOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Isa isa, isa_from_environment());
  use_isa(isa);
  std::vector<std::string> ignored = options.ignored;
  NACRE_ASSIGN_OR_RETURN(const ServeCore::Options core_given, core_options(options, ignored));
  NACRE_ASSIGN_OR_RETURN(RestOptions rest_given, rest_options(options));
  NACRE_ASSIGN_OR_RETURN(GrpcOptions grpc_given, grpc_options(options));
  NACRE_ASSIGN_OR_RETURN(std::vector<ModelConfig> models, configured_models(options));
  raise_file_limit();
  tune_memory();
  // Blocked in all threads, which are started from here on: this one waits for them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Nobody waits for who reads these, neither requests nor the end.
  const AccessLog format = access_log(options);
  const auto written = format == AccessLog::kJson ? message_json : message_line;
  LogWriter messages(STDERR_FILENO,
                     [written](uint64_t count) { return written(fmt::format("{} lines dropped", count)); });
  LogWriter accesses(STDOUT_FILENO, [format](uint64_t count) { return dropped_access_lines(count, format); });
  ServeCore core(core_given, [&](std::string_view line) { messages.add(written(line)); });
  if (format != AccessLog::kNone) {
    rest_given.access =
        grpc_given.access = [&](const AccessRecord& record) { accesses.add(access_line(record, format)); };
  }
  for (const std::string& name : ignored) core.log(name + ": has no meaning here, is ignored");
  std::unique_ptr<RestServer> rest;
  if (options.rest_api_port != 0) {
    // Before the models: health and status answer from the start.
    NACRE_ASSIGN_OR_RETURN(rest, RestServer::start(rest_given, core));
    core.log(fmt::format("REST at {}:{}", options.address, rest->port()));
  }
  std::unique_ptr<GrpcServer> grpc;
  if (options.port != 0) {
    NACRE_ASSIGN_OR_RETURN(grpc, GrpcServer::start(grpc_given, core));
    core.log(fmt::format("gRPC at {}:{}", options.address, grpc->port()));
  }
  // On a thread of its own: a signal ends the server whatever is being loaded.
  std::atomic<bool> loading{true};
  std::jthread configuring([&](const std::stop_token& stop) {
    const RpcStatus loaded = core.models.reload(models);
    // Of models that are not available the log has said why.
    if (!loaded.ok() && loaded.code() != RpcCode::kUnknown) core.log(loaded.message());
    loading = false;
    if (options.model_config_file.empty() || options.model_config_file_poll_wait_seconds <= 0) return;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    std::string told;
    const std::chrono::duration<double> pause(options.model_config_file_poll_wait_seconds);
    while (!never.wait_for(lock, stop, pause, [] { return false; }) && !stop.stop_requested()) {
      loading = true;
      reload_config(core, options, models, told);
      loading = false;
    }
  });

  wait_for_signal(signals);
  core.draining = true;
  configuring.request_stop();
  core.log("stopping: finishing what is in hand");
  // A second signal ends it at once.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  const auto time = std::chrono::duration<double>(options.drain_seconds);
  const auto deadline = ServeClock::now() + std::chrono::duration_cast<ServeClock::duration>(time);
  std::jthread other;
  if (rest != nullptr) other = std::jthread([&] { rest->drain(deadline); });
  if (grpc != nullptr) grpc->drain(deadline);
  if (other.joinable()) other.join();
  if (!core.models.stop_loading() || loading) {  // who knows for how long
    accesses.flush();
    messages.flush();
    std::_Exit(0);
  }
  return {};
}

Status run(int argc, const char* const* argv) {
  CLI::App app("nacre-serve serves image classifiers to TensorFlow Serving's clients.", "nacre-serve");
  app.set_version_flag("--version", "nacre-serve " NACRE_VERSION, "print the version");
  app.set_help_flag("--help,-h", "print this help");
  app.formatter(std::make_shared<HelpFormatter>());
  ServeOptions options;
  add_serve_options(app, options);
  try {
    NACRE_ASSIGN_OR_RETURN(std::vector<std::string> words,
                           plain_arguments(app, normalized_arguments(argc, argv)));
    parse_arguments(app, std::move(words));
  } catch (const CLI::CallForVersion&) {
    return print("nacre-serve " NACRE_VERSION "\n");
  } catch (const CLI::Success&) {
    return print(app.help());
  } catch (const CLI::ParseError& error) {
    return {StatusCode::kUsage, fmt::format("{} (see nacre-serve --help)", error.what())};
  }
  return serve(options);
}

}  // namespace

int run_server(int argc, const char* const* argv) {
  return run_guarded([=] { return exit_code(run(argc, argv)); });
}

}  // namespace nacre
