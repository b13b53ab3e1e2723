#include "serve/grpc/grpc_server.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/stubs/logging.h>

#include <array>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "schemas/grpc/health.pb.h"
#include "schemas/grpc/reflection.pb.h"
#include "schemas/tensorflow/services.pb.h"
#include "serve/grpc/dispatcher.h"
#include "serve/grpc/grpc_transport.h"
#include "serve/grpc/health_service.h"
#include "serve/grpc/model_service.h"
#include "serve/grpc/prediction.h"
#include "serve/grpc/reflection_service.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;

constexpr std::string_view kPredictionService = "tensorflow.serving.PredictionService";
constexpr std::string_view kModelService = "tensorflow.serving.ModelService";
constexpr std::string_view kHealthService = "grpc.health.v1.Health";
constexpr std::string_view kReflectionServiceV1 = "grpc.reflection.v1.ServerReflection";
constexpr std::string_view kReflectionService = "grpc.reflection.v1alpha.ServerReflection";

std::string path_of(std::string_view service, std::string_view method) {
  return "/" + std::string(service) + "/" + std::string(method);
}

/// A method that computes; `name` is the metrics' word for it, too.
template <typename Request, typename Response>
void add_in_order(Dispatcher& calls, std::string_view name,
                  RpcStatus (*answer)(const ServeCore&, const Request&, const CallContext&, Response&,
                                      CallSubject&),
                  GrpcMethods& methods) {
  methods[path_of(kPredictionService, name)] = calls.method<Request, Response>(
      Turn::kInOrder, name,
      [&core = calls.core(), answer](const Request& question, const CallContext& context, Response& response,
                                     CallSubject& subject) {
        return answer(core, question, context, response, subject);
      });
}

/// A method that is not counted: `answer(request, context, response)`.
template <typename Request, typename Response, typename Answer>
GrpcMethod uncounted(Dispatcher& calls, Turn turn, Answer answer) {
  return calls.method<Request, Response>(
      turn, "",
      [answer = std::move(answer)](const Request& question, const CallContext& context, Response& response,
                                   CallSubject&) { return answer(question, context, response); });
}

void add_predictions(Dispatcher& calls, GrpcMethods& methods) {
  add_in_order(calls, "Predict", answer_predict, methods);
  add_in_order(calls, "Classify", answer_classify, methods);
  add_in_order(calls, "Regress", answer_regress, methods);
  add_in_order(calls, "MultiInference", answer_multi_inference, methods);
  methods[path_of(kPredictionService, "GetModelMetadata")] =
      uncounted<tfs::GetModelMetadataRequest, tfs::GetModelMetadataResponse>(
          calls, Turn::kAtOnce,
          [&core = calls.core()](const auto& question, const CallContext&, auto& response) {
            return answer_metadata(core, question, response);
          });
}

void add_models(Dispatcher& calls, GrpcMethods& methods) {
  methods[path_of(kModelService, "GetModelStatus")] =
      uncounted<tfs::GetModelStatusRequest, tfs::GetModelStatusResponse>(
          calls, Turn::kAtOnce,
          [&core = calls.core()](const auto& question, const CallContext&, auto& response) {
            return answer_status(core, question, response);
          });
  methods[path_of(kModelService, "HandleReloadConfigRequest")] =
      uncounted<tfs::ReloadConfigRequest, tfs::ReloadConfigResponse>(
          calls, Turn::kSlow,
          [&core = calls.core()](const auto& question, const CallContext& context, auto& response) {
            return answer_reload(core, question, context, response);
          });
}

void add_health(Dispatcher& calls, HealthService& health, GrpcMethods& methods) {
  methods[path_of(kHealthService, "Check")] = uncounted<HealthService::Request, HealthService::Response>(
      calls, Turn::kAtOnce, [&health](const auto& question, const CallContext&, auto& response) {
        return health.answer_check(question, response);
      });
  methods[path_of(kHealthService, "Watch")] = {
      [&calls, &health](const std::shared_ptr<GrpcCall>& call) {
        calls.threads().submit({[&health, call] { health.watch(call); }, false, true});
      },
      {}};
}

/// What holds for every server that is started after it.
void set_up_process() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Reflection tells of it, but nothing else refers to it, so the linker would leave it out.
    const google::protobuf::internal::AddDescriptorsRunner services(
        &descriptor_table_schemas_2ftensorflow_2fservices_2eproto);
    // Any client could fill the log with texts that are no UTF-8.
    google::protobuf::SetLogHandler(nullptr);
  });
}

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(const GrpcOptions& options, ServeCore& core)
      : health_(core, {std::string(kPredictionService), std::string(kModelService)}),
        reflection_({std::string(kPredictionService), std::string(kModelService), std::string(kHealthService),
                     std::string(kReflectionService)}),
        calls_(core, {options.threads, options.max_waiting}) {}
  ~Impl() { drain(ServeClock::now()); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status listen(const GrpcOptions& options) {
    set_up_process();
    GrpcMethods methods;
    add_predictions(calls_, methods);
    add_models(calls_, methods);
    add_health(calls_, health_, methods);
    // The messages of version 1 are the same on the wire.
    for (const std::string_view service : {kReflectionService, kReflectionServiceV1}) {
      methods[path_of(service, "ServerReflectionInfo")] = {
          {}, [this](std::string_view question, std::string& framed) {
            return reflection_.converse(question, framed);
          }};
    }
    GrpcTransport::Options transport;
    transport.address = options.address;
    transport.port = static_cast<uint16_t>(options.port);
    transport.max_connections = options.max_connections;
    transport.limits.max_message_bytes = options.max_message_bytes;
    transport.limits.max_unsent_bytes = options.max_unsent_bytes;
    transport.ssl = options.ssl;
    transport.access = options.access;
    auto started = GrpcTransport::start(transport, std::move(methods), calls_.threads());
    if (!started.ok()) return {started.status().code(), "gRPC: " + started.status().message()};
    transport_ = std::move(*started);
    return {};
  }

  [[nodiscard]] int port() const { return transport_->port(); }

  void drain(ServeClock::time_point deadline) {
    health_.stop();
    if (transport_ != nullptr) transport_->drain(deadline);
  }

 private:
  std::unique_ptr<GrpcTransport> transport_;  // outlives the calls that others hold
  HealthService health_;
  ReflectionService reflection_;
  Dispatcher calls_;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() = default;

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const GrpcOptions& options, ServeCore& core) {
  auto impl = std::make_unique<Impl>(options, core);
  NACRE_RETURN_IF_ERROR(impl->listen(options));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

int GrpcServer::port() const {
  return impl_->port();
}

void GrpcServer::drain(ServeClock::time_point deadline) {
  impl_->drain(deadline);
}

}  // namespace nacre
