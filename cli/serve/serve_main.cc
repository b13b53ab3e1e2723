#include "cli/serve/serve_main.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "cli/console.h"
#include "cli/help.h"
#include "cli/serve/options.h"
#include "engine/isa.h"
#include "engine/parallel.h"
#include "serve/grpc/grpc_server.h"
#include "serve/serve_core.h"

namespace nacre {
namespace {

int exit_code(const Status& status) {
  if (!status.ok()) print_message(status.message());
  return static_cast<int>(status.code());
}

ServeCore::Options core_options(const ServeOptions& options) {
  ServeCore::Options core;
  core.slots = static_cast<size_t>(options.threads > 0 ? options.threads : available_threads());
  core.max_waiting = static_cast<size_t>(options.max_waiting_requests);
  core.models.poll =
      std::chrono::milliseconds(static_cast<int64_t>(options.file_system_poll_wait_seconds * 1000));
  core.models.servable.threads = options.tensorflow_intra_op_parallelism;
  core.models.servable.warm_up = options.enable_model_warmup;
  return core;
}

/// Nothing for port 0.
Result<std::unique_ptr<GrpcServer>> start_grpc(const ServeOptions& options, ServeCore& core) {
  if (options.port == 0) return std::unique_ptr<GrpcServer>();
  GrpcOptions grpc;
  grpc.address = options.address;
  grpc.port = options.port;
  grpc.threads = static_cast<size_t>(options.grpc_max_threads);
  grpc.max_waiting = static_cast<size_t>(options.max_waiting_requests);
  grpc.max_message_bytes = static_cast<size_t>(options.max_request_megabytes) << 20;
  if (!options.ssl_config_file.empty()) {
    NACRE_ASSIGN_OR_RETURN(grpc.ssl, read_ssl_config(options.ssl_config_file));
  }
  NACRE_ASSIGN_OR_RETURN(auto server, GrpcServer::start(grpc, core));
  core.log(fmt::format("gRPC on {}:{}", options.address, server->port()));
  return server;
}

Status serve(const ServeOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Isa isa, isa_from_environment());
  use_isa(isa);
  if (options.model_base_path.empty()) {
    return {StatusCode::kUsage, "expected --model_base_path (see nacre-serve --help)"};
  }
  // Blocked in all threads, which are started from here on: this one waits for them.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  ServeCore core(core_options(options), [](std::string_view line) { print_message(line); });
  const RpcStatus configured = core.models.reload({{options.model_name, options.model_base_path, {}, {}}});
  if (!configured.ok()) return {StatusCode::kUsage, configured.message()};
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> grpc, start_grpc(options, core));
  int received = 0;
  while (sigwait(&stop, &received) != 0) {
  }
  core.draining = true;
  core.log("stopping: finishing what is in hand");
  const auto deadline =
      ServeClock::now() + std::chrono::milliseconds(static_cast<int64_t>(options.drain_seconds * 1000));
  if (grpc != nullptr) grpc->drain(deadline);
  return {};
}

}  // namespace

int run_server(int argc, const char* const* argv) {
  try {
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app("nacre-serve serves image classifiers to TensorFlow Serving's clients.", "nacre-serve");
    app.set_version_flag("--version", "nacre-serve " NACRE_VERSION, "print the version");
    app.set_help_flag("--help,-h", "print this help");
    app.formatter(std::make_shared<HelpFormatter>());
    ServeOptions options;
    add_serve_options(app, options);
    try {
      std::vector<std::string> arguments = normalized_arguments(argc, argv);
      std::ranges::reverse(arguments);  // as CLI11 wants them
      app.parse(std::move(arguments));
    } catch (const CLI::CallForVersion&) {
      return exit_code(print("nacre-serve " NACRE_VERSION "\n"));
    } catch (const CLI::Success&) {
      return exit_code(print(app.help()));
    } catch (const CLI::ParseError& error) {
      return exit_code({StatusCode::kUsage, fmt::format("{} (see nacre-serve --help)", error.what())});
    }
    return exit_code(serve(options));
  } catch (const std::bad_alloc&) {
    print_message("out of memory");
    return static_cast<int>(StatusCode::kLimit);
  } catch (const std::exception& error) {
    print_message(std::string("internal error: ") + error.what());
    return static_cast<int>(StatusCode::kInternal);
  }
}

}  // namespace nacre
