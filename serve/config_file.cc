#include "serve/config_file.h"

#include <fmt/format.h>

#include <set>

#include "schemas/tensorflow/server_config.pb.h"
#include "serve/model_config_proto.h"
#include "serve/text_proto.h"

namespace nacre {
namespace {

constexpr int64_t kMaxBatchSize = 4096;
constexpr int64_t kMaxBatchTimeout = 60'000'000;
constexpr int64_t kMaxBatches = 1 << 20;
constexpr int64_t kMaxBatchThreads = 1024;

}  // namespace

Result<std::vector<ModelConfig>> read_model_configs(const std::string& path) {
  tensorflow::serving::ModelServerConfig config;
  NACRE_RETURN_IF_ERROR(read_text_proto(path, config));
  auto models = model_configs_of(config);
  if (!models.ok()) return Status(StatusCode::kBadData, path + ": " + models.status().message());
  if (const RpcStatus checked = check_model_configs(*models); !checked.ok()) {
    return Status(StatusCode::kBadData, path + ": " + checked.message());
  }
  return std::move(models).value();
}

Result<BatchingFile> read_batching_file(const std::string& path) {
  tensorflow::serving::BatchingParameters given;
  NACRE_RETURN_IF_ERROR(read_text_proto(path, given));
  BatchingFile file;
  BatchingOptions& options = file.options;
  Status bad;
  std::set<std::string, std::less<>> used;
  // The value that was given for `name`, when there is one.
  const auto take = [&](bool present, int64_t value, std::string_view name, int64_t least, int64_t most,
                        size_t& option) {
    used.emplace(name);
    if (!present) return;
    if (value >= least && value <= most) {
      option = static_cast<size_t>(value);
    } else if (bad.ok()) {
      bad = Status(StatusCode::kBadData,
                   fmt::format("{}: {} {{ value: {} }}, expected {} to {}", path, name, value, least, most));
    }
  };
  auto timeout = static_cast<size_t>(options.batch_timeout.count());
  take(given.has_max_batch_size(), given.max_batch_size().value(), "max_batch_size", 1, kMaxBatchSize,
       options.max_batch_size);
  take(given.has_batch_timeout_micros(), given.batch_timeout_micros().value(), "batch_timeout_micros", 0,
       kMaxBatchTimeout, timeout);
  take(given.has_max_enqueued_batches(), given.max_enqueued_batches().value(), "max_enqueued_batches", 1,
       kMaxBatches, options.max_enqueued_batches);
  take(given.has_num_batch_threads(), given.num_batch_threads().value(), "num_batch_threads", 1,
       kMaxBatchThreads, options.num_batch_threads);
  NACRE_RETURN_IF_ERROR(bad);
  options.batch_timeout = std::chrono::microseconds(timeout);
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  given.GetReflection()->ListFields(given, &fields);
  for (const auto* const field : fields) {
    if (!used.contains(field->name())) file.ignored.push_back(field->name());
  }
  return file;
}

Result<std::string> read_prometheus_path(const std::string& path) {
  tensorflow::serving::MonitoringConfig config;
  NACRE_RETURN_IF_ERROR(read_text_proto(path, config));
  const auto& prometheus = config.prometheus_config();
  if (!prometheus.enable()) return std::string();
  const std::string page = prometheus.path().empty() ? "/monitoring/prometheus/metrics" : prometheus.path();
  if (!page.starts_with('/')) {
    return Status(StatusCode::kBadData,
                  fmt::format("{}: path \"{}\", expected one that begins with '/'", path, page));
  }
  return page;
}

}  // namespace nacre
