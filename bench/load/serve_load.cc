// Loads a server that speaks TensorFlow Serving's REST or gRPC, or the engine alone, with encoded images, one
// a request.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "bench/load/grpc_target.h"
#include "bench/load/load.h"
#include "bench/load/rest_target.h"
#include "engine/base64.h"
#include "engine/file.h"
#include "runtime/model.h"
#include "schemas/tensorflow/predict.pb.h"

namespace nacre::load {
namespace {

constexpr size_t kMaxImageBytes = size_t{64} << 20;

struct Options {
  std::string transport;
  std::string host = "127.0.0.1";
  int port = 8501;
  std::string path;
  std::string model = "default";
  std::string bundle;
  std::vector<std::string> images;
  Plan plan;
};

using Images = std::vector<std::vector<std::byte>>;

Target rest(const Options& options, const Images& images) {
  std::vector<std::string> bodies;
  for (const auto& image : images)
    bodies.push_back(R"({"instances":[{"b64":")" + encode_base64(image) + "\"}]}");
  const std::string path = options.path.empty() ? "/v1/models/" + options.model + ":predict" : options.path;
  return rest_target(options.host, options.port, path, std::move(bodies));
}

Target grpc(const Options& options, const Images& images) {
  namespace tfs = tensorflow::serving;
  std::vector<std::string> messages;
  for (const auto& image : images) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name(options.model);
    tensorflow::TensorProto& tensor = (*request.mutable_inputs())["image"];
    tensor.set_dtype(tensorflow::DT_STRING);
    tensor.mutable_tensor_shape()->add_dim()->set_size(1);
    tensor.add_string_val(image.data(), image.size());
    messages.push_back(request.SerializeAsString());
  }
  return grpc_target(options.host, options.port, "/tensorflow.serving.PredictionService/Predict", messages);
}

/// No server: decodes and classifies.
class EngineConnection final : public Connection {
 public:
  EngineConnection(std::shared_ptr<const Model> model, std::shared_ptr<const Images> images)
      : model_(std::move(model)), images_(std::move(images)) {}

  [[nodiscard]] int socket() const override { return -1; }
  Status start(size_t i) override {
    const std::span<const std::byte> image((*images_)[i % images_->size()]);
    return model_->classify({&image, 1}).front().status();
  }
  Result<Arrival> receive() override { return Arrival(Clock::now()); }

 private:
  const std::shared_ptr<const Model> model_;
  const std::shared_ptr<const Images> images_;
};

Result<Target> engine(const Options& options, const Images& images) {
  NACRE_ASSIGN_OR_RETURN(Model loaded, Model::load(options.bundle));
  auto model = std::make_shared<const Model>(std::move(loaded));
  auto all = std::make_shared<const Images>(images);
  return Target([=]() -> Result<std::unique_ptr<Connection>> {
    return std::unique_ptr<Connection>(std::make_unique<EngineConnection>(model, all));
  });
}

Result<Target> make_target(const Options& options, const Images& images) {
  if (options.transport == "rest") return rest(options, images);
  if (options.transport == "grpc") return grpc(options, images);
  return engine(options, images);
}

Status load(const Options& options) {
  Images images;
  for (const std::string& file : options.images) {
    NACRE_ASSIGN_OR_RETURN(std::vector<std::byte> bytes, read_file(file, kMaxImageBytes));
    images.push_back(std::move(bytes));
  }
  NACRE_ASSIGN_OR_RETURN(const Target target, make_target(options, images));
  NACRE_ASSIGN_OR_RETURN(const Report report, run(target, options.plan));
  const nlohmann::ordered_json line = {
      {"requests", report.requests},
      {"errors", report.errors},
      {"first_error", report.first_error},
      {"requests_per_second", static_cast<double>(report.requests) / report.seconds},
      {"loader_cpu_us", report.cpu_us},
      {"p50_ms", report.percentile(0.5)},
      {"p90_ms", report.percentile(0.9)},
      {"p99_ms", report.percentile(0.99)},
      {"max_ms", report.percentile(1)},
  };
  fmt::print("{}\n", line.dump());
  return {};
}

int run_program(int argc, char** argv) {
  Options options;
  CLI::App app("Loads a server, or the engine alone, with one image a request; prints one line of JSON.");
  app.add_option("TRANSPORT", options.transport, "rest, grpc, or engine: no server")
      ->required()
      ->check(CLI::IsMember({"rest", "grpc", "engine"}));
  app.add_option("IMAGE", options.images, "files to send in turn")->required();
  app.add_option("--host", options.host, "IPv4 address (default: 127.0.0.1)");
  app.add_option("--port", options.port, "of the server (default: 8501)");
  app.add_option("--model", options.model, "its name (default: default)");
  app.add_option("--path", options.path, "REST: of another route than the model's :predict");
  app.add_option("--bundle", options.bundle, "engine: what computes");
  app.add_option("--connections", options.plan.connections, "that send at the same time (default: 8)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--seconds", options.plan.seconds, "(default: 10)")->check(CLI::Range(0.1, 86400.0));
  app.add_option("--warm-up", options.plan.warm_up_seconds, "seconds that do not count (default: 1)")
      ->check(CLI::Range(0.0, 600.0));
  app.add_option("--rate", options.plan.rate, "requests a second (default: as many as there are answers)")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--requests", options.plan.requests, "ends after so many, all of which count");
  CLI11_PARSE(app, argc, argv);
  const Status status = load(options);
  if (!status.ok()) fmt::print(stderr, "serve_load: {}\n", status.message());
  return static_cast<int>(status.code());
}

}  // namespace
}  // namespace nacre::load

int main(int argc, char** argv) {
  try {
    return nacre::load::run_program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "serve_load: %s\n", error.what());
    return 70;
  }
}
