#include "serve/grpc/grpc_server.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <stop_token>
#include <thread>
#include <utility>

#include "schemas/tensorflow/services.grpc.pb.h"
#include "serve/grpc/model_service.h"
#include "serve/grpc/prediction.h"
#include "serve/grpc/unary_call.h"
#include "serve/worker_pool.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;

/// How long the health service may lag behind what ServeCore::ready() says.
constexpr std::chrono::milliseconds kHealthLag{20};

/// Of all requests that are being received; what comes beyond waits, and then is refused.
constexpr size_t kMaxBufferedBytes = size_t{1} << 30;
/// Calls in hand of one connection.
constexpr int kMaxConcurrentStreams = 1024;

/// Of a call that may be answered within another.
constexpr size_t kShortBytes = size_t{64} << 10;
/// Calls that may wait for others of their kind that are slow.
constexpr size_t kMaxSlow = 16;

constexpr auto kSilent = static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1);

/// Hands calls to the pool, which answers them, and counts them.
class Dispatcher {
 public:
  Dispatcher(ServeCore& core, const GrpcOptions& options)
      : core_(core), pool_(options.threads, options.max_waiting, &core.waiting), slow_(1, kMaxSlow) {}

  [[nodiscard]] ServeCore& core() const { return core_; }

  /// `answer(context, subject)` fills the response on a thread of the pool. Calls of `api` are counted, those
  /// of none, which wait for more than a CPU, are not: they have a thread of their own.
  template <typename Answer>
  grpc::ServerUnaryReactor* dispatch(const grpc::CallbackServerContext& context, std::string_view api,
                                     const google::protobuf::Message& request, Answer answer) {
    UnaryCall* const call = UnaryCall::make(context);
    const ServeClock::time_point begun = ServeClock::now();
    const bool taken =
        (api.empty() ? slow_ : pool_)
            .submit([this, call, api, begun, answer = std::move(answer)] { run(*call, api, begun, answer); },
                    request.ByteSizeLong() <= kShortBytes);
    if (!taken) finish(*call, api, begun, {}, {RpcCode::kResourceExhausted, "too many calls wait"});
    return call;
  }

  /// The same at once, on gRPC's thread: for calls that wait for nothing, so that they pass those that do.
  template <typename Answer>
  grpc::ServerUnaryReactor* dispatch_quick(const grpc::CallbackServerContext& context, const Answer& answer) {
    UnaryCall* const call = UnaryCall::make(context);
    run(*call, "", ServeClock::now(), answer);
    return call;
  }

 private:
  template <typename Answer>
  void run(UnaryCall& call, std::string_view api, ServeClock::time_point begun, const Answer& answer) {
    CallSubject subject;
    const CallContext context = call.context([this] { return pool_.run_another(); });
    RpcStatus status = context.check();
    if (status.ok()) status = guarded(answer, context, subject);
    finish(call, api, begun, subject, status);
  }
  template <typename Answer>
  static RpcStatus guarded(const Answer& answer, const CallContext& context, CallSubject& subject) {
    try {
      return answer(context, subject);
    } catch (const std::bad_alloc&) {
      return {RpcCode::kResourceExhausted, "out of memory"};
    }
  }
  void finish(UnaryCall& call, std::string_view api, ServeClock::time_point begun, const CallSubject& subject,
              const RpcStatus& status) const {
    const auto latency = std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun);
    if (!api.empty())
      core_.metrics.count_call({"GRPC", api}, subject.model, subject.signature, status.code(), latency);
    call.Finish(grpc_status_of(status));  // gRPC may end the call's life at once
  }

  ServeCore& core_;
  WorkerPool pool_;
  WorkerPool slow_;
};

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;

class PredictionServiceImpl final : public tfs::PredictionService::CallbackService {
 public:
  explicit PredictionServiceImpl(Dispatcher& calls) : calls_(calls) {}

  Reactor* Predict(Context* context, const tfs::PredictRequest* request,
                   tfs::PredictResponse* response) override {
    return calls_.dispatch(*context, "Predict", *request,
                           [=, this](const CallContext& useful, CallSubject& subject) {
                             return answer_predict(calls_.core(), *request, useful, *response, subject);
                           });
  }
  Reactor* Classify(Context* context, const tfs::ClassificationRequest* request,
                    tfs::ClassificationResponse* response) override {
    return calls_.dispatch(*context, "Classify", *request,
                           [=, this](const CallContext& useful, CallSubject& subject) {
                             return answer_classify(calls_.core(), *request, useful, *response, subject);
                           });
  }
  Reactor* Regress(Context* context, const tfs::RegressionRequest* request,
                   tfs::RegressionResponse* response) override {
    return calls_.dispatch(*context, "Regress", *request,
                           [=, this](const CallContext& useful, CallSubject& subject) {
                             return answer_regress(calls_.core(), *request, useful, *response, subject);
                           });
  }
  Reactor* MultiInference(Context* context, const tfs::MultiInferenceRequest* request,
                          tfs::MultiInferenceResponse* response) override {
    return calls_.dispatch(
        *context, "MultiInference", *request, [=, this](const CallContext& useful, CallSubject& subject) {
          return answer_multi_inference(calls_.core(), *request, useful, *response, subject);
        });
  }
  Reactor* GetModelMetadata(Context* context, const tfs::GetModelMetadataRequest* request,
                            tfs::GetModelMetadataResponse* response) override {
    return calls_.dispatch_quick(*context, [=, this](const CallContext&, CallSubject&) {
      return answer_metadata(calls_.core(), *request, *response);
    });
  }

 private:
  Dispatcher& calls_;
};

class ModelServiceImpl final : public tfs::ModelService::CallbackService {
 public:
  explicit ModelServiceImpl(Dispatcher& calls) : calls_(calls) {}

  Reactor* GetModelStatus(Context* context, const tfs::GetModelStatusRequest* request,
                          tfs::GetModelStatusResponse* response) override {
    return calls_.dispatch_quick(*context, [=, this](const CallContext&, CallSubject&) {
      return answer_status(calls_.core(), *request, *response);
    });
  }
  Reactor* HandleReloadConfigRequest(Context* context, const tfs::ReloadConfigRequest* request,
                                     tfs::ReloadConfigResponse* response) override {
    return calls_.dispatch(*context, "", *request, [=, this](const CallContext&, CallSubject&) {
      return answer_reload(calls_.core(), *request, *response);
    });
  }

 private:
  Dispatcher& calls_;
};

std::shared_ptr<grpc::ServerCredentials> credentials_of(const GrpcOptions& options) {
  if (!options.ssl.has_value()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(options.ssl->client_verify
                                            ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                            : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  ssl.pem_key_cert_pairs.push_back({options.ssl->key, options.ssl->certificate});
  ssl.pem_root_certs = options.ssl->ca;
  return grpc::SslServerCredentials(ssl);
}

/// What holds for every server that is built after it.
void set_up_process() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Any client could fill the log with handshakes that fail and texts that are no UTF-8.
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_verbosity(kSilent);
    google::protobuf::SetLogHandler(nullptr);
  });
}

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(const GrpcOptions& options, ServeCore& core)
      : core_(core), calls_(core, options), prediction_(calls_), models_(calls_) {}
  ~Impl() {
    if (server_ != nullptr) drain(ServeClock::now());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status listen(const GrpcOptions& options) {
    set_up_process();
    const bool v6 = options.address.find(':') != std::string::npos;
    const std::string address =
        fmt::format("{}{}{}:{}", v6 ? "[" : "", options.address, v6 ? "]" : "", options.port);
    grpc::ServerBuilder builder;
    // Two servers on one port would each get some of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(std::min<size_t>(options.max_message_bytes, std::numeric_limits<int>::max())));
    builder.SetMaxSendMessageSize(-1);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
    builder.SetResourceQuota(
        grpc::ResourceQuota("nacre").Resize(std::max(kMaxBufferedBytes, 2 * options.max_message_bytes)));
    builder.AddListeningPort(address, credentials_of(options), &port_);
    builder.RegisterService(&prediction_);
    builder.RegisterService(&models_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return {StatusCode::kIo,
              fmt::format("gRPC: {}: cannot listen: the address is not there or in use{}", address,
                          options.ssl.has_value() ? ", or the keys are no PEM texts" : "")};
    }
    const bool ready = core_.ready();
    tell_health(ready);
    health_ = std::jthread([this, ready](const std::stop_token& stop) { watch_health(stop, ready); });
    return {};
  }

  [[nodiscard]] int port() const { return port_; }

  void drain(ServeClock::time_point deadline) {
    health_.request_stop();
    if (health_.joinable()) health_.join();
    server_->GetHealthCheckService()->Shutdown();
    server_->Shutdown(std::chrono::system_clock::now() + (deadline - ServeClock::now()));
    server_->Wait();
    server_ = nullptr;
  }

 private:
  /// The whole server last: who has seen it serve may ask for the services.
  void tell_health(bool ready) {
    grpc::HealthCheckServiceInterface& service = *server_->GetHealthCheckService();
    service.SetServingStatus(tfs::PredictionService::service_full_name(), ready);
    service.SetServingStatus(tfs::ModelService::service_full_name(), ready);
    service.SetServingStatus(ready);
  }
  void watch_health(const std::stop_token& stop, bool told) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      wake.wait_for(lock, stop, kHealthLag, [] { return false; });
      if (core_.ready() == told) continue;
      told = !told;
      tell_health(told);
    }
  }

  ServeCore& core_;
  Dispatcher calls_;
  PredictionServiceImpl prediction_;
  ModelServiceImpl models_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::jthread health_;
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
