#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace nacre {

/// The flags of nacre-serve, under TensorFlow Serving's names.
struct ServeOptions {
  int port = 8500;
  int rest_api_port = 8501;
  std::string address = "0.0.0.0";
  int grpc_max_threads = 64;
  std::string ssl_config_file;
  int rest_api_timeout_in_ms = 30000;
  int rest_api_num_threads = 0;
  bool rest_api_enable_cors_support = false;
  std::string model_name = "default";
  std::string model_base_path;
  std::string model_config_file;
  double model_config_file_poll_wait_seconds = 0;
  double file_system_poll_wait_seconds = 1;
  bool enable_batching = false;
  std::string batching_parameters_file;
  bool enable_model_warmup = true;
  int threads = 0;
  int tensorflow_intra_op_parallelism = 1;
  int max_waiting_requests = 1024;
  int max_request_megabytes = 64;
  double drain_seconds = 30;
  std::string access_log = "none";
};

void add_serve_options(CLI::App& app, ServeOptions& options);

/// The arguments after the program's name, with '_' for '-' inside the names of options: both are known.
std::vector<std::string> normalized_arguments(int argc, const char* const* argv);

}  // namespace nacre
