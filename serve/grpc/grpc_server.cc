#include "serve/grpc/grpc_server.h"

#include <absl/synchronization/mutex.h>
#include <fmt/format.h>
#include <google/protobuf/generated_message_reflection.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "schemas/tensorflow/services.grpc.pb.h"
#include "serve/grpc/acceptor.h"
#include "serve/grpc/call_threads.h"
#include "serve/grpc/health_service.h"
#include "serve/grpc/model_service.h"
#include "serve/grpc/prediction.h"
#include "serve/grpc/reflection_service.h"
#include "serve/grpc/unary_call.h"
#include "serve/worker_pool.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;

// Requests and responses as bytes: see UnaryCall.
using Predictions = tfs::PredictionService;
using PredictionMethods = Predictions::WithRawMethod_Predict<Predictions::WithRawMethod_Classify<
    Predictions::WithRawMethod_Regress<Predictions::WithRawMethod_MultiInference<
        Predictions::WithRawMethod_GetModelMetadata<Predictions::Service>>>>>;
using ModelMethods = tfs::ModelService::WithRawMethod_GetModelStatus<
    tfs::ModelService::WithRawMethod_HandleReloadConfigRequest<tfs::ModelService::Service>>;

/// Of all requests that are being received; what comes beyond waits, and then is refused.
constexpr size_t kMaxBufferedBytes = size_t{1} << 30;
/// Calls in hand of one connection.
constexpr int kMaxConcurrentStreams = 1024;
/// Until a new connection speaks HTTP/2.
constexpr int kHandshakeMs = 10'000;
/// A connection without a call is closed after that; its client connects again when it has one.
constexpr int kIdleMs = 600'000;

/// Of a call that may be answered within another.
constexpr size_t kShortBytes = size_t{64} << 10;
/// Calls that may wait for others of their kind that are slow.
constexpr size_t kMaxSlow = 16;

constexpr auto kSilent = static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1);

/// When a call is answered.
enum class Turn : uint8_t {
  kAtOnce,   ///< it waits for nothing, so it passes those that do
  kInOrder,  ///< it computes
  kSlow,     ///< it waits for more than a CPU
};

/// Answers calls, and counts those that compute.
class Dispatcher {
 public:
  Dispatcher(ServeCore& core, const GrpcOptions& options)
      : core_(core),
        threads_({.at_once = options.threads, .max_waiting = options.max_waiting, .waiting = &core.waiting},
                 options.max_unsent_bytes),
        slow_(1, kMaxSlow) {}

  [[nodiscard]] ServeCore& core() const { return core_; }
  [[nodiscard]] CallThreads& threads() { return threads_; }

  /// UnaryCall::Method::take: `answer(request, context, response, subject)` fills the response. Calls in
  /// order are counted as those of `api`.
  template <typename Request, typename Response, typename Call, typename Answer>
  void take(Call& call, Turn turn, std::string_view api, const Answer& answer) {
    const ServeClock::time_point begun = ServeClock::now();
    const bool is_short = turn == Turn::kInOrder && call.request().Length() <= kShortBytes;
    const size_t kind = is_short ? kind_of(call.request()) : 0;
    const auto run_it = [this, &call, api, begun, kind, &answer] {
      run<Request, Response>(call, api, begun, kind, answer);
    };
    if (turn == Turn::kAtOnce) return run_it();
    const bool taken = turn == Turn::kSlow ? slow_.submit(run_it)
                                           : threads_.answers().submit({run_it, is_short, false, kind});
    if (taken) return;
    const RpcStatus refused{RpcCode::kResourceExhausted, "too many calls wait"};
    count(api, begun, {}, refused);
    call.finish(refused);
  }

 private:
  /// Throws nothing.
  template <typename Request, typename Response, typename Call, typename Answer>
  void run(Call& call, std::string_view api, ServeClock::time_point begun, size_t kind,
           const Answer& answer) {
    CallSubject subject;
    RpcStatus status;
    try {
      const bool nested = CallContext::is_nested();
      bool postponed = false;
      const CallContext context = call.context(
          [this, kind](bool alike) {
            return threads_.answers().answer_another(alike ? std::optional(kind) : std::nullopt);
          },
          nested ? &postponed : nullptr);
      grpc::ByteBuffer again;  // for when it is postponed
      if (nested) again = call.request();
      Request request;
      Response response;
      status = context.check();
      if (status.ok()) status = decode_message(call.request(), request);
      if (status.ok()) status = answer(request, context, response, subject);
      if (postponed) {
        call.request().Swap(&again);
        return threads_.answers().submit_again([this, &call, api, begun, kind, &answer] {
          run<Request, Response>(call, api, begun, kind, answer);
        });
      }
      count(api, begun, subject, status);
      return call.finish(std::move(status), &response);
    } catch (const std::bad_alloc&) {
      status = {RpcCode::kResourceExhausted, "out of memory"};
    }
    count(api, begun, subject, status);
    call.finish(std::move(status));
  }
  void count(std::string_view api, ServeClock::time_point begun, const CallSubject& subject,
             const RpcStatus& status) const {
    const auto latency = std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - begun);
    try {
      if (!api.empty())
        core_.metrics.count_call({"GRPC", api}, subject.model, subject.signature, status.code(), latency);
    } catch (const std::bad_alloc&) {  // the answer matters more
    }
  }

  ServeCore& core_;
  CallThreads threads_;
  WorkerPool slow_;
};

/// Takes calls of a method from now on; `request` is that of gRPC's service of raw methods.
template <typename Request, typename Response, typename Service, typename Answer>
void serve(Dispatcher& calls, std::type_identity_t<Service>& service,
           void (Service::*request)(grpc::ServerContext*, grpc::ByteBuffer*,
                                    grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>*,
                                    grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*),
           Turn turn, std::string_view api, Answer answer) {
  using Call = UnaryCall<Service>;
  const auto take = [&calls, turn, api, answer](Call& call) {
    calls.take<Request, Response>(call, turn, api, answer);
  };
  Call::await(service, std::make_shared<typename Call::Method>(typename Call::Method{request, take}),
              calls.threads());
}

/// Of a method that computes.
template <typename Request, typename Response, typename Service, typename Method>
void serve_in_order(Dispatcher& calls, Service& service, Method request, std::string_view api,
                    RpcStatus (*answer)(const ServeCore&, const Request&, const CallContext&, Response&,
                                        CallSubject&)) {
  serve<Request, Response>(calls, service, request, Turn::kInOrder, api,
                           [&core = calls.core(), answer](const auto& question, const CallContext& context,
                                                          auto& response, CallSubject& subject) {
                             return answer(core, question, context, response, subject);
                           });
}

void serve_predictions(Dispatcher& calls, PredictionMethods& service) {
  using Methods = PredictionMethods;
  serve_in_order(calls, service, &Methods::RequestPredict, "Predict", answer_predict);
  serve_in_order(calls, service, &Methods::RequestClassify, "Classify", answer_classify);
  serve_in_order(calls, service, &Methods::RequestRegress, "Regress", answer_regress);
  serve_in_order(calls, service, &Methods::RequestMultiInference, "MultiInference", answer_multi_inference);
  serve<tfs::GetModelMetadataRequest, tfs::GetModelMetadataResponse>(
      calls, service, &Methods::RequestGetModelMetadata, Turn::kAtOnce, "",
      [&core = calls.core()](const auto& question, const CallContext&, auto& response, CallSubject&) {
        return answer_metadata(core, question, response);
      });
}

void serve_health(Dispatcher& calls, HealthService& health) {
  serve<HealthService::Request, HealthService::Response>(
      calls, health.service(), &HealthService::Service::RequestCheck, Turn::kAtOnce, "",
      [&health](const auto& question, const CallContext&, auto& response, CallSubject&) {
        return health.answer_check(question, response);
      });
  health.start(calls.threads());
}

void serve_models(Dispatcher& calls, ModelMethods& service) {
  serve<tfs::GetModelStatusRequest, tfs::GetModelStatusResponse>(
      calls, service, &ModelMethods::RequestGetModelStatus, Turn::kAtOnce, "",
      [&core = calls.core()](const auto& question, const CallContext&, auto& response, CallSubject&) {
        return answer_status(core, question, response);
      });
  serve<tfs::ReloadConfigRequest, tfs::ReloadConfigResponse>(
      calls, service, &ModelMethods::RequestHandleReloadConfigRequest, Turn::kSlow, "",
      [&core = calls.core()](const auto& question, const CallContext& context, auto& response, CallSubject&) {
        return answer_reload(core, question, context, response);
      });
}

std::shared_ptr<grpc::ServerCredentials> credentials_of(const GrpcOptions& options) {
  if (!options.ssl.has_value()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(options.ssl->client_verify
                                            ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                            : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  ssl.pem_key_cert_pairs.push_back({options.ssl->key, options.ssl->certificate});
  ssl.pem_root_certs = options.ssl->ca;
  return grpc::SslServerCredentials(ssl);
}

/// Whether gRPC can encrypt with them, which it says to those alone whom it listens for.
bool are_good(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", credentials);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> probe = builder.BuildAndStart();
  if (probe != nullptr) probe->Shutdown();
  queue->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
  }
  return probe != nullptr;
}

/// What holds for every server that is built after it.
void set_up_process() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Reflection tells of them, but nothing refers to them, so the linker would leave them out.
    const google::protobuf::internal::AddDescriptorsRunner services(
        &descriptor_table_schemas_2ftensorflow_2fservices_2eproto);
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // else each lock looks for cycles
    // Any client could fill the log with handshakes that fail and texts that are no UTF-8.
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_verbosity(kSilent);
    google::protobuf::SetLogHandler(nullptr);
  });
}

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(const GrpcOptions& options, ServeCore& core)
      : health_(core, {tfs::PredictionService::service_full_name(), tfs::ModelService::service_full_name()}),
        reflection_({tfs::PredictionService::service_full_name(), tfs::ModelService::service_full_name(),
                     grpc::health::v1::Health::service_full_name(),
                     grpc::reflection::v1alpha::ServerReflection::service_full_name()}),
        calls_(core, options) {}
  ~Impl() {
    if (server_ != nullptr) drain(ServeClock::now());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status listen(const GrpcOptions& options) {
    set_up_process();
    auto acceptor = Acceptor::listen(options.address, options.port, options.max_connections);
    if (!acceptor.ok()) return {acceptor.status().code(), "gRPC: " + acceptor.status().message()};
    acceptor_ = std::move(acceptor).value();
    const auto failed = [&](std::string_view reason) {
      return Status(StatusCode::kIo, fmt::format("gRPC: {}:{}: {}", options.address, options.port, reason));
    };
    const std::shared_ptr<grpc::ServerCredentials> credentials = credentials_of(options);
    if (options.ssl.has_value() && !are_good(credentials)) return failed("the keys are no PEM texts");
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(std::min<size_t>(options.max_message_bytes, std::numeric_limits<int>::max())));
    builder.SetMaxSendMessageSize(-1);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
    builder.SetResourceQuota(
        grpc::ResourceQuota("nacre").Resize(std::max(kMaxBufferedBytes, 2 * options.max_message_bytes)));
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
    auto connections = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
    builder.RegisterService(&prediction_);
    builder.RegisterService(&models_);
    builder.RegisterService(&health_.service());
    builder.RegisterService(&reflection_.service());
    std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return failed("gRPC does not start");
    calls_.threads().start(std::move(queue));
    serve_predictions(calls_, prediction_);
    serve_models(calls_, models_);
    serve_health(calls_, health_);
    reflection_.start(calls_.threads());
    acceptor_->start(std::move(connections));
    return {};
  }

  [[nodiscard]] int port() const { return acceptor_->port(); }

  void drain(ServeClock::time_point deadline) {
    acceptor_->stop();
    health_.stop();
    reflection_.stop();
    server_->Shutdown(std::chrono::system_clock::now() + (deadline - ServeClock::now()));
    calls_.threads().stop();
    server_ = nullptr;
  }

 private:
  PredictionMethods prediction_;
  ModelMethods models_;
  HealthService health_;
  ReflectionService reflection_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
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
