#include "cli/serve/options.h"

#include <algorithm>

namespace nacre {

void add_serve_options(CLI::App& app, ServeOptions& options) {
  app.add_option("--port", options.port, "of gRPC; 0: none (default: 8500)")
      ->check(CLI::Range(0, 65535))
      ->type_name("PORT");
  app.add_option("--address", options.address, "that is listened to (default: 0.0.0.0, which is all)")
      ->type_name("ADDRESS");
  app.add_option("--grpc_max_threads", options.grpc_max_threads,
                 "gRPC calls that are answered, or wait for a CPU, at the same time (default: 64)")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_option("--ssl_config_file", options.ssl_config_file,
                 "an SSLConfig in protobuf's text form: gRPC is encrypted")
      ->type_name("FILE");
  app.add_option("--max_request_megabytes", options.max_request_megabytes, "largest request (default: 64)")
      ->check(CLI::Range(1, 2047))
      ->type_name("N");
  app.add_option("--model_name", options.model_name, "name of the model at --model_base_path")
      ->type_name("NAME")
      ->envname("MODEL_NAME");
  app.add_option("--model_base_path", options.model_base_path, "folder of numeric version folders")
      ->type_name("DIR")
      ->envname("MODEL_BASE_PATH");
  app.add_option("--file_system_poll_wait_seconds", options.file_system_poll_wait_seconds,
                 "between two looks for new versions; 0: only at the start")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("SECONDS");
  app.add_flag("--enable_model_warmup,!--no_enable_model_warmup", options.enable_model_warmup,
               "run the network before a version goes live (on by default)");
  app.add_option("--threads", options.threads,
                 "requests that compute at the same time (default: the CPUs allowed)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  app.add_option("--tensorflow_intra_op_parallelism", options.tensorflow_intra_op_parallelism,
                 "threads that one request computes with")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  app.add_option("--max_waiting_requests", options.max_waiting_requests,
                 "requests that may wait for their turn; more are told to come back later")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N");
}

std::vector<std::string> normalized_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const auto end =
        argument.begin() + static_cast<std::ptrdiff_t>(std::min(argument.find('='), argument.size()));
    std::replace(argument.begin() + 2, end, '-', '_');
  }
  return arguments;
}

}  // namespace nacre
