#include "cli/serve/options.h"

#include <algorithm>
#include <chrono>

#include "engine/parallel.h"
#include "serve/config_file.h"

namespace nacre {
namespace {

constexpr double kMaxSeconds = 86400;

void add_model_options(CLI::App& app, ServeOptions& options) {
  app.add_option("--model_name", options.model_name, "name of the model at --model_base_path")
      ->type_name("NAME")
      ->envname("MODEL_NAME");
  app.add_option("--model_base_path", options.model_base_path, "folder of numeric version folders")
      ->type_name("DIR")
      ->envname("MODEL_BASE_PATH");
  app.add_option("--model_config_file", options.model_config_file,
                 "several models, in place of these two: model_config_list { config { ... } }")
      ->type_name("FILE");
  app.add_option("--model_config_file_poll_wait_seconds", options.model_config_file_poll_wait_seconds,
                 "between two looks at that file; 0: only at the start")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->type_name("SECONDS");
  app.add_option("--file_system_poll_wait_seconds", options.file_system_poll_wait_seconds,
                 "between two looks for new versions; 0: only at the start")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->type_name("SECONDS");
  app.add_flag("--enable_model_warmup", options.enable_model_warmup,
               "run the network before a version goes live (default: true)");
}

void add_compute_options(CLI::App& app, ServeOptions& options) {
  app.add_flag("--enable_batching", options.enable_batching, "put requests that come together into batches");
  app.add_option("--batching_parameters_file", options.batching_parameters_file,
                 "max_batch_size { value: 32 } and so on")
      ->type_name("FILE");
  app.add_option("--threads", options.threads,
                 "requests that compute at the same time (default: the CPUs allowed to this process)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  app.add_option("--tensorflow_intra_op_parallelism", options.tensorflow_intra_op_parallelism,
                 "threads that one request computes with (default: 1, which 0 means, too)")
      ->check(CLI::Range(0, 1024))
      ->type_name("N");
  app.add_option("--max_waiting_requests", options.max_waiting_requests,
                 "requests that may wait for their turn (default: 1024); more are refused")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N");
  app.add_option("--drain_seconds", options.drain_seconds,
                 "that requests in hand have to end after SIGTERM (default: 30)")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->type_name("SECONDS");
}

void add_grpc_options(CLI::App& app, ServeOptions& options) {
  app.add_option("--address", options.address, "IP address to listen to (default: 0.0.0.0, all)")
      ->type_name("IP");
  app.add_option("--max_request_megabytes", options.max_request_megabytes, "largest request (default: 64)")
      ->check(CLI::Range(1, 2047))
      ->type_name("MB");
  app.add_option("--port", options.port, "port of gRPC (default: 8500); 0: none")
      ->check(CLI::Range(0, 65535))
      ->type_name("PORT");
  app.add_option("--grpc_max_threads", options.grpc_max_threads,
                 "gRPC calls that are answered at the same time (default: as --threads)")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_option("--grpc_max_connections", options.grpc_max_connections,
                 "that are open at the same time (default: 8192)")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  app.add_option("--ssl_config_file", options.ssl_config_file,
                 "an SSLConfig in protobuf's text form: gRPC is encrypted")
      ->type_name("FILE");
}

void add_rest_options(CLI::App& app, ServeOptions& options) {
  app.add_option("--rest_api_port", options.rest_api_port, "port of REST (default: 8501); 0: none")
      ->check(CLI::Range(0, 65535))
      ->type_name("PORT");
  app.add_option("--rest_api_num_threads", options.rest_api_num_threads,
                 "REST requests that are answered at the same time (default: as --threads)")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_option("--rest_api_timeout_in_ms", options.rest_api_timeout_in_ms,
                 "until a REST request is answered (default: 30000)")
      ->check(CLI::Range(1, 86'400'000))
      ->type_name("MS");
  app.add_flag("--rest_api_enable_cors_support", options.rest_api_enable_cors_support,
               "pages of any origin may call");
  app.add_option("--rest_api_max_connections", options.rest_api_max_connections,
                 "that are open at the same time (default: 8192)")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  app.add_option("--monitoring_config_file", options.monitoring_config_file,
                 "prometheus_config { enable: true path: \"...\" }; without it the page is on")
      ->type_name("FILE");
  app.add_option("--access_log", options.access_log, "a line for every request, on standard output")
      ->check(CLI::IsMember({"none", "text", "json"}))
      ->type_name("none|text|json");
}

/// TensorFlow Serving's flags about what nacre does not have: taken, so that its command lines work as they
/// are.
void add_ignored_options(CLI::App& app, ServeOptions& options) {
  for (const char* const name : {"--allow_version_labels_for_unavailable_models",
                                 "--enable_per_model_batching_parameters",
                                 "--enable_profiler",
                                 "--enable_serialization_as_tensor_content",
                                 "--enable_signature_method_name_check",
                                 "--flush_filesystem_caches",
                                 "--grpc_channel_arguments",
                                 "--load_retry_interval_micros",
                                 "--max_num_load_retries",
                                 "--mixed_precision",
                                 "--num_load_threads",
                                 "--num_request_iterations_for_warmup",
                                 "--num_tflite_interpreters_per_pool",
                                 "--num_tflite_pools",
                                 "--num_unload_threads",
                                 "--per_process_gpu_memory_fraction",
                                 "--platform_config_file",
                                 "--prefer_tflite_model",
                                 "--remove_unused_fields_from_bundle_metagraph",
                                 "--saved_model_tags",
                                 "--skip_initialize_tpu",
                                 "--tensorflow_inter_op_parallelism",
                                 "--tensorflow_session_config_file",
                                 "--tensorflow_session_parallelism",
                                 "--thread_pool_factory_config_file",
                                 "--use_tflite_model",
                                 "--xla_cpu_compilation_enabled",
                                 "--xla_gpu_compilation_enabled"}) {
    const auto note = [&options, name](const std::string& /*value*/) { options.ignored.emplace_back(name); };
    app.add_option_function<std::string>(name, note)->expected(0, 1)->group("");
  }
  // Health is always there.
  app.add_option_function<std::string>("--enable_grpc_healthcheck_service", [](const std::string&) {})
      ->expected(0, 1)
      ->group("");
}

size_t slots_of(const ServeOptions& options) {
  return static_cast<size_t>(options.threads > 0 ? options.threads : available_threads());
}

/// Of a transport: what was given, or enough to keep the CPUs busy: no call waits for another's.
size_t threads_of(int given, const ServeOptions& options) {
  if (given > 0) return static_cast<size_t>(given);
  return slots_of(options);
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace

void add_serve_options(CLI::App& app, ServeOptions& options) {
  // As TensorFlow Serving's flags: what comes later wins, so that a container's start can be added to.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_options(app, options);
  add_compute_options(app, options);
  add_grpc_options(app, options);
  add_rest_options(app, options);
  add_ignored_options(app, options);
}

std::vector<std::string> normalized_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  }
  return arguments;
}

Result<ServeCore::Options> core_options(const ServeOptions& options, std::vector<std::string>& ignored) {
  ServeCore::Options core;
  core.slots = slots_of(options);
  core.max_waiting = static_cast<size_t>(options.max_waiting_requests);
  core.models.poll = milliseconds(options.file_system_poll_wait_seconds);
  core.models.servable.threads = std::max(options.tensorflow_intra_op_parallelism, 1);
  core.models.servable.warm_up = options.enable_model_warmup;
  if (options.enable_batching) {
    core.models.servable.batching.emplace();
    if (!options.batching_parameters_file.empty()) {
      NACRE_ASSIGN_OR_RETURN(const BatchingFile file, read_batching_file(options.batching_parameters_file));
      core.models.servable.batching = file.options;
      for (const std::string& name : file.ignored)
        ignored.push_back(options.batching_parameters_file + ": " + name);
    }
  } else if (!options.batching_parameters_file.empty()) {
    return Status(StatusCode::kUsage, "--batching_parameters_file has no meaning without --enable_batching");
  }
  return core;
}

Result<RestOptions> rest_options(const ServeOptions& options) {
  RestOptions rest;
  rest.http.address = options.address;
  rest.http.port = static_cast<uint16_t>(options.rest_api_port);
  rest.http.threads = threads_of(options.rest_api_num_threads, options);
  rest.http.max_waiting = static_cast<size_t>(options.max_waiting_requests);
  rest.http.limits.max_body_bytes = static_cast<size_t>(options.max_request_megabytes) << 20;
  rest.http.limits.max_connections = static_cast<size_t>(options.rest_api_max_connections);
  rest.http.limits.work = std::chrono::milliseconds(options.rest_api_timeout_in_ms);
  rest.cors = options.rest_api_enable_cors_support;
  if (!options.monitoring_config_file.empty()) {
    NACRE_ASSIGN_OR_RETURN(rest.metrics_path, read_prometheus_path(options.monitoring_config_file));
  }
  return rest;
}

AccessLog access_log(const ServeOptions& options) {
  if (options.access_log == "none") return AccessLog::kNone;
  return options.access_log == "json" ? AccessLog::kJson : AccessLog::kText;
}

Result<GrpcOptions> grpc_options(const ServeOptions& options) {
  GrpcOptions grpc;
  grpc.address = options.address;
  grpc.port = options.port;
  grpc.threads = threads_of(options.grpc_max_threads, options);
  grpc.max_waiting = static_cast<size_t>(options.max_waiting_requests);
  grpc.max_connections = static_cast<size_t>(options.grpc_max_connections);
  grpc.max_message_bytes = static_cast<size_t>(options.max_request_megabytes) << 20;
  if (!options.ssl_config_file.empty()) {
    NACRE_ASSIGN_OR_RETURN(grpc.ssl, read_ssl_config(options.ssl_config_file));
  }
  return grpc;
}

Result<std::vector<ModelConfig>> configured_models(const ServeOptions& options) {
  // It wins, as in TensorFlow Serving: containers always give a base path.
  if (!options.model_config_file.empty()) return read_model_configs(options.model_config_file);
  if (options.model_base_path.empty()) {
    return Status(StatusCode::kUsage,
                  "expected --model_base_path or --model_config_file (see nacre-serve --help)");
  }
  std::vector<ModelConfig> models = {{options.model_name, options.model_base_path, {}, {}}};
  if (const RpcStatus checked = check_model_configs(models); !checked.ok()) {
    return Status(StatusCode::kUsage, checked.message());
  }
  return models;
}

}  // namespace nacre
