#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "engine/status.h"
#include "serve/grpc/grpc_server.h"
#include "serve/model_config.h"
#include "serve/rest/rest_server.h"
#include "serve/serve_core.h"

namespace nacre {

/// The flags of nacre-serve, under TensorFlow Serving's names where it has them (docs/serving.md).
struct ServeOptions {
  std::string model_name = "default";
  std::string model_base_path;
  std::string model_config_file;
  double model_config_file_poll_wait_seconds = 0;
  double file_system_poll_wait_seconds = 1;
  bool enable_model_warmup = true;
  bool enable_batching = false;
  std::string batching_parameters_file;
  int threads = 0;
  int tensorflow_intra_op_parallelism = 1;
  int max_waiting_requests = 1024;
  double drain_seconds = 30;

  std::string address = "0.0.0.0";
  int port = 8500;
  int grpc_max_threads = 0;
  int grpc_max_connections = 8192;
  std::string ssl_config_file;
  int rest_api_port = 8501;
  int rest_api_num_threads = 0;
  int rest_api_timeout_in_ms = 30000;
  bool rest_api_enable_cors_support = false;
  int rest_api_max_connections = 8192;
  int max_request_megabytes = 64;
  std::string monitoring_config_file;
  std::string access_log = "none";

  std::vector<std::string> ignored;  ///< flags that were given and have no meaning here
};

void add_serve_options(CLI::App& app, ServeOptions& options);

/// The arguments after the program's name, with '_' for '-' inside the names of options: both are known.
std::vector<std::string> normalized_arguments(int argc, const char* const* argv);

/// Errors are kUsage, and those of the files that options name. Adds to `ignored` what such a file gives and
/// has no meaning here.
Result<ServeCore::Options> core_options(const ServeOptions& options, std::vector<std::string>& ignored);
/// Without where its lines go.
AccessLog access_log(const ServeOptions& options);
/// Both without what is told of requests.
Result<RestOptions> rest_options(const ServeOptions& options);
Result<GrpcOptions> grpc_options(const ServeOptions& options);

/// The models of --model_config_file, else the one of --model_name and --model_base_path.
Result<std::vector<ModelConfig>> configured_models(const ServeOptions& options);

}  // namespace nacre
