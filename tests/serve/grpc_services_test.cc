// The services beside TensorFlow Serving's: health that is watched, reflection; and many calls at once.
#include <google/protobuf/descriptor.pb.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "schemas/grpc/health.grpc.pb.h"
#include "schemas/grpc/reflection.grpc.pb.h"
#include "serve/grpc/reflection_service.h"
#include "tests/serve/grpc_fixture.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using namespace std::chrono_literals;
using grpc::health::v1::HealthCheckResponse;
using testing::Contains;
using testing::HasSubstr;

/// A call of Watch.
class Watcher {
 public:
  Watcher(const std::shared_ptr<grpc::Channel>& channel, const std::string& service)
      : stub_(grpc::health::v1::Health::NewStub(channel)) {
    context_.set_deadline(std::chrono::system_clock::now() + 20s);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    reader_ = stub_->Watch(&context_, request);
  }
  /// "SERVING", "NOT_SERVING"; or how the call has ended.
  std::string next() {
    HealthCheckResponse response;
    if (!reader_->Read(&response)) return text_of(reader_->Finish());
    return HealthCheckResponse::ServingStatus_Name(response.status());
  }
  void cancel() { context_.TryCancel(); }

 private:
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
};

class GrpcServices : public GrpcTest {
 protected:
  void load(std::vector<ModelConfig> models) {
    const RpcStatus loaded = core_->models.reload(std::move(models));
    EXPECT_TRUE(loaded.ok() || loaded.code() == RpcCode::kUnknown) << loaded.message();  // one has no version
  }
};

TEST_F(GrpcServices, AWatcherIsToldOfChanges) {
  Watcher whole(channel_, "");
  Watcher service(channel_, "tensorflow.serving.PredictionService");
  Watcher unknown(channel_, "no.such.Service");
  EXPECT_EQ(whole.next(), "SERVING");
  EXPECT_EQ(service.next(), "SERVING");
  EXPECT_EQ(unknown.next(), "SERVICE_UNKNOWN");
  std::filesystem::create_directories(path("empty"));
  load({{"empty", path("empty"), {}, {}}});
  EXPECT_EQ(whole.next(), "NOT_SERVING");
  EXPECT_EQ(service.next(), "NOT_SERVING");
  load(configs());
  EXPECT_EQ(whole.next(), "SERVING");
  service.cancel();
  while (service.next().find("CANCELLED") == std::string::npos) {
  }
  core_->draining = true;
  EXPECT_EQ(whole.next(), "NOT_SERVING");
}

TEST_F(GrpcServices, WatchersDoNotHoldUpTheEnd) {
  Watcher one(channel_, "");
  Watcher two(channel_, "");
  EXPECT_EQ(one.next(), "SERVING");
  EXPECT_EQ(two.next(), "SERVING");
  const auto begun = ServeClock::now();
  server_->drain(begun + 20s);
  EXPECT_LT(ServeClock::now() - begun, 10s);
  EXPECT_EQ(one.next(), "UNAVAILABLE: the server stops");
  EXPECT_EQ(two.next(), "UNAVAILABLE: the server stops");
  server_.reset();
}

TEST_F(GrpcServices, ReflectionAnswersOneQuestionAfterTheOther) {
  using namespace grpc::reflection::v1alpha;
  const auto stub = ServerReflection::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  ServerReflectionRequest request;
  ServerReflectionResponse response;
  const auto ask = [&] { return stream->Write(request) && stream->Read(&response); };
  request.set_list_services("");
  ASSERT_TRUE(ask());
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) names.push_back(service.name());
  EXPECT_THAT(names, testing::UnorderedElementsAre("tensorflow.serving.PredictionService",
                                                   "tensorflow.serving.ModelService", "grpc.health.v1.Health",
                                                   "grpc.reflection.v1alpha.ServerReflection"));
  request.set_file_containing_symbol("tensorflow.serving.PredictionService.Predict");
  ASSERT_TRUE(ask());
  std::vector<std::string> files;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    files.push_back(file.name());
  }
  ASSERT_FALSE(files.empty());
  EXPECT_EQ(files.front(), "schemas/tensorflow/services.proto");
  EXPECT_THAT(files, Contains("schemas/tensorflow/tensor.proto")) << "with what it imports";
  EXPECT_EQ(std::set<std::string>(files.begin(), files.end()).size(), files.size());
  request.set_file_by_filename("schemas/tensorflow/tensor.proto");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.original_request().file_by_filename(), "schemas/tensorflow/tensor.proto");
  EXPECT_GE(response.file_descriptor_response().file_descriptor_proto_size(), 1);
  request.set_file_by_filename("no/such.proto");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.mutable_file_containing_extension()->set_containing_type("x");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.Clear();
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(text_of(stream->Finish()), "OK");
}

TEST_F(GrpcServices, AnOpenReflectionStreamDoesNotHoldUpTheEnd) {
  using namespace grpc::reflection::v1alpha;
  const auto stub = ServerReflection::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  ServerReflectionRequest request;
  ServerReflectionResponse response;
  request.set_list_services("");
  ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
  const auto begun = ServeClock::now();
  server_->drain(begun + 20s);
  EXPECT_LT(ServeClock::now() - begun, 10s);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(text_of(stream->Finish()), "UNAVAILABLE: the server stops");
  server_.reset();
}

TEST_F(GrpcServices, AReloadInHandDoesNotHoldUpTheEnd) {
  std::mutex mutex;
  std::condition_variable changed;
  bool hold = false;
  bool holds = false;
  stop();
  // The thread that loads waits when it logs.
  core_ = std::make_unique<ServeCore>(core_options_, [&](std::string_view) {
    std::unique_lock lock(mutex);
    holds = hold;
    changed.notify_all();
    changed.wait(lock, [&] { return !hold; });
  });
  load(configs());
  auto server = GrpcServer::start(options_, *core_);
  ASSERT_TRUE(server.ok());
  server_ = std::move(*server);
  {
    const std::lock_guard lock(mutex);
    hold = true;
  }
  std::filesystem::create_directories(path("more/1"));
  std::filesystem::copy(path("stripes/1/model.nacre"), path("more/1/model.nacre"));
  const auto reload = [&](std::chrono::milliseconds time) {
    tfs::ReloadConfigRequest request;
    for (const std::string name : {"stripes", "one", "more"}) {
      auto& model = *request.mutable_config()->mutable_model_config_list()->add_config();
      model.set_name(name);
      model.set_base_path(path(name));
    }
    tfs::ReloadConfigResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + time);
    const auto stub =
        tfs::ModelService::NewStub(grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
    return text_of(stub->HandleReloadConfigRequest(&context, request, &response));
  };
  std::string ended;
  std::jthread client([&] { ended = reload(60s); });
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, 20s, [&] { return holds; }));
  }
  EXPECT_THAT(reload(100ms), HasSubstr("DEADLINE_EXCEEDED")) << "one that waits for another";
  const auto begun = ServeClock::now();
  server_->drain(begun + 100ms);
  EXPECT_LT(ServeClock::now() - begun, 10s);
  server_.reset();
  client.join();
  EXPECT_THAT(ended, testing::AnyOf(HasSubstr("CANCELLED"), HasSubstr("UNAVAILABLE")));
  EXPECT_FALSE(core_->models.stop_loading());
  {
    const std::lock_guard lock(mutex);
    hold = false;
  }
  changed.notify_all();
  core_.reset();  // its thread looks at what is on this stack
}

class GrpcCrowd : public GrpcTest, public testing::WithParamInterface<bool> {};

TEST_P(GrpcCrowd, CallsThatComeAndGoAllHaveTheirAnswer) {
  if (GetParam()) core_options_.models.servable.batching.emplace();
  start();
  const std::vector<float> scores = expected({jpeg_});
  std::atomic<int> good{0};
  std::atomic<bool> draining{false};
  std::vector<std::jthread> clients;
  for (int t = 0; t < 6; ++t) {
    clients.emplace_back([&, t] {
      grpc::ChannelArguments own;
      own.SetInt("nacre.test.connection", t);
      const auto channel = grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), own);
      const auto stub = tfs::PredictionService::NewStub(channel);
      for (int i = 0; i < 60; ++i) {
        tfs::PredictRequest request;
        request.mutable_model_spec()->set_name("stripes");
        (*request.mutable_inputs())["image"] = string_tensor({jpeg_});
        tfs::PredictResponse response;
        grpc::ClientContext context;
        const bool hurried = (i + t) % 3 == 0;
        context.set_deadline(std::chrono::system_clock::now() +
                             (hurried ? std::chrono::microseconds(50 * i) : 20s));
        const grpc::Status status = stub->Predict(&context, request, &response);
        if (status.ok()) {
          ++good;
          const auto& values = response.outputs().at("prediction").float_val();
          EXPECT_EQ(std::vector<float>(values.begin(), values.end()), scores);
        } else if (!draining) {
          EXPECT_TRUE(hurried) << text_of(status);
        }
      }
    });
  }
  while (good < 100) std::this_thread::sleep_for(1ms);
  draining = true;
  server_->drain(ServeClock::now() + 20s);
  clients.clear();
  EXPECT_EQ(core_->waiting, 0U);
  EXPECT_EQ(core_->slots->free(), core_options_.slots);
  server_.reset();
}

INSTANTIATE_TEST_SUITE_P(Batching, GrpcCrowd, testing::Bool());

}  // namespace
}  // namespace nacre
