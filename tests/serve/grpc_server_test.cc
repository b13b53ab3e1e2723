// What is not any one call's: deadlines, limits, health, encryption, the end.
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "image/encode.h"
#include "schemas/grpc/health.grpc.pb.h"
#include "tests/serve/grpc_fixture.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;
using namespace std::chrono_literals;
using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;
using testing::Not;

class GrpcServerTest : public GrpcTest {
 protected:
  /// Predicts the picture.
  grpc::Status predict(grpc::ClientContext& context, const std::string& picture) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("stripes");
    (*request.mutable_inputs())["image"] = string_tensor({picture});
    tfs::PredictResponse response;
    return predictions_->Predict(&context, request, &response);
  }
  grpc::Status predict() {
    grpc::ClientContext context;
    return predict(context, jpeg_);
  }
  /// "SERVING", "NOT_SERVING" or an error.
  std::string health(const std::string& service = "") {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const auto stub = grpc::health::v1::Health::NewStub(channel_);
    const grpc::Status status = stub->Check(&context, request, &response);
    return status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status()) : text_of(status);
  }
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }
  /// Holds all the CPUs, so that calls wait.
  [[nodiscard]] std::vector<ComputeSlots::Lease> hold_all() {
    std::vector<ComputeSlots::Lease> leases;
    for (size_t i = 0; i < core_options_.slots; ++i) leases.push_back(core_->slots->acquire({}).value());
    return leases;
  }
};

TEST_F(GrpcServerTest, ADeadlineReachesTheCoreAndTheWorkIsDropped) {
  std::vector<ComputeSlots::Lease> held = hold_all();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 100ms);
  EXPECT_THAT(text_of(predict(context, jpeg_)), HasSubstr("DEADLINE_EXCEEDED"));
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 0; }));
  held.clear();
  EXPECT_EQ(text_of(predict()), "OK");
}

TEST_F(GrpcServerTest, AClientThatGoesTakesItsCallAlong) {
  std::vector<ComputeSlots::Lease> held = hold_all();
  grpc::ClientContext context;
  grpc::Status status;
  std::thread client([&] { status = predict(context, jpeg_); });
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  context.TryCancel();
  client.join();
  EXPECT_THAT(text_of(status), HasSubstr("CANCELLED"));
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 0; })) << "while the CPUs are still held";
}

TEST_F(GrpcServerTest, MoreCallsThanMayWaitAreRefusedAtOnce) {
  options_.threads = 1;
  options_.max_waiting = 1;
  start();
  std::vector<ComputeSlots::Lease> held = hold_all();
  std::vector<std::thread> clients;
  std::vector<grpc::Status> statuses(4);
  for (grpc::Status& status : statuses) clients.emplace_back([&] { status = predict(); });
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  std::this_thread::sleep_for(100ms);
  tfs::GetModelStatusRequest question;
  question.mutable_model_spec()->set_name("stripes");
  tfs::GetModelStatusResponse answer;
  grpc::ClientContext context;
  EXPECT_EQ(text_of(models_->GetModelStatus(&context, question, &answer)), "OK")
      << "what waits for nothing passes";
  held.clear();
  for (std::thread& client : clients) client.join();
  size_t good = 0;
  for (const grpc::Status& status : statuses) {
    if (status.ok()) {
      ++good;
    } else {
      EXPECT_EQ(text_of(status), "RESOURCE_EXHAUSTED: too many calls wait");
    }
  }
  // One that waits for a CPU, and at most one that waits for its thread.
  EXPECT_GE(good, 1U);
  EXPECT_LE(good, 2U);
}

TEST_F(GrpcServerTest, CallsThatWaitGoTogetherAndEachHasItsOwnAnswer) {
  options_.threads = 1;
  core_options_.models.servable.joined.batch_timeout = kUnhurried;
  start();
  std::vector<ComputeSlots::Lease> held = hold_all();
  const std::vector<std::string> pictures = {jpeg_, jpeg_.substr(0, jpeg_.size() / 2), png_};
  std::vector<std::jthread> clients;
  for (size_t i = 0; i < pictures.size(); ++i) {
    clients.emplace_back([&, i] {
      tfs::PredictRequest request;
      request.mutable_model_spec()->set_name("stripes");
      (*request.mutable_inputs())["image"] = string_tensor({pictures[i]});
      tfs::PredictResponse response;
      grpc::ClientContext context;
      const grpc::Status status = predictions_->Predict(&context, request, &response);
      if (i == 1) {
        EXPECT_THAT(text_of(status), HasSubstr("INVALID_ARGUMENT: image 0"));
        return;
      }
      ASSERT_EQ(text_of(status), "OK");
      const auto& values = response.outputs().at("prediction").float_val();
      EXPECT_EQ(std::vector<float>(values.begin(), values.end()), expected({pictures[i]}));
    });
    EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1 && core_->waiting == i; }));
  }
  held.clear();
  clients.clear();
  EXPECT_THAT(core_->metrics.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
  EXPECT_THAT(core_->metrics.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 2\n"));
}

TEST_F(GrpcServerTest, WhatWouldHoldUpAnotherCallIsAnsweredAfterIt) {
  options_.threads = 1;
  start();
  Image image{700, 700, 3, std::vector<uint8_t>(size_t{700} * 700 * 3, 7)};
  const auto encoded = encode_png(image);
  ASSERT_TRUE(encoded.ok());
  const std::string large(reinterpret_cast<const char*>(encoded->data()), encoded->size());
  ASSERT_LT(large.size(), 60'000U);
  std::jthread outer([&] {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("stripes");
    (*request.mutable_inputs())["image"] = string_tensor(std::vector<std::string>(4096, jpeg_));
    tfs::PredictResponse response;
    grpc::ClientContext context;
    EXPECT_EQ(text_of(predictions_->Predict(&context, request, &response)), "OK");
  });
  for (int i = 0; i < 5; ++i) {
    grpc::ClientContext first;
    EXPECT_EQ(text_of(predict(first, large)), "OK");
    EXPECT_EQ(text_of(predict()), "OK");
  }
  outer.join();
  EXPECT_THAT(core_->metrics.prometheus(), Not(HasSubstr("ABORTED"))) << "what is postponed does not count";
}

TEST_F(GrpcServerTest, ARequestMayBeCompressed) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  EXPECT_EQ(text_of(predict(context, jpeg_)), "OK");
}

TEST_F(GrpcServerTest, ARequestHasALargestSize) {
  options_.max_message_bytes = 10000;
  start();
  grpc::ClientContext context;
  EXPECT_THAT(text_of(predict(context, std::string(20000, 'x'))), HasSubstr("RESOURCE_EXHAUSTED"));
  EXPECT_EQ(text_of(predict()), "OK");
}

TEST_F(GrpcServerTest, BytesThatAreNoMessageAreRefused) {
  grpc::GenericStub stub(channel_);
  for (const std::string& bytes :
       {std::string("\xff\xff\xff"), std::string(1000, '\x0a'), std::string("\x12\x7f")}) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    const auto call =
        stub.PrepareUnaryCall(&context, "/tensorflow.serving.PredictionService/Predict", request, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_FALSE(status.ok());
  }
  EXPECT_EQ(text_of(predict()), "OK");
}

TEST_F(GrpcServerTest, HealthIsHonest) {
  EXPECT_TRUE(eventually([&] { return health() == "SERVING"; }));
  EXPECT_EQ(health("tensorflow.serving.PredictionService"), "SERVING");
  EXPECT_EQ(health("tensorflow.serving.ModelService"), "SERVING");
  EXPECT_THAT(health("no.such.Service"), HasSubstr("NOT_FOUND"));
  std::filesystem::create_directories(path("empty"));
  std::vector<ModelConfig> more = configs();
  more.push_back({"empty", path("empty"), {}, {}});
  EXPECT_THAT(
      core_->models.reload(more).message(),
      HasSubstr("{{{name: empty} due to error: " + path("empty") + ": holds no numbered version folder"));
  EXPECT_EQ(health(), "SERVING") << "the others are served";
  EXPECT_FALSE(core_->models.reload({more.back()}).ok());
  EXPECT_TRUE(eventually([&] { return health() == "NOT_SERVING"; })) << "no model has a version";
  ASSERT_TRUE(core_->models.reload(configs()).ok());
  EXPECT_TRUE(eventually([&] { return health() == "SERVING"; }));
  core_->draining = true;
  EXPECT_TRUE(eventually([&] { return health() == "NOT_SERVING"; }));
}

TEST_F(GrpcServerTest, ReflectionTellsTheServices) {
  for (const std::string version : {"v1alpha", "v1"}) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto next = [&] {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue.Next(&tag, &ok));
      return ok;
    };
    const auto call = stub.PrepareCall(
        &context, "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo", &queue);
    call->StartCall(this);
    ASSERT_TRUE(next());
    const grpc::Slice slice(std::string("\x3a\x01*"));  // list_services: "*"
    call->Write(grpc::ByteBuffer(&slice, 1), this);
    ASSERT_TRUE(next());
    grpc::ByteBuffer response;
    call->Read(&response, this);
    ASSERT_TRUE(next());
    grpc::Slice whole;
    ASSERT_TRUE(response.DumpToSingleSlice(&whole).ok());
    const std::string text(reinterpret_cast<const char*>(whole.begin()), whole.size());
    EXPECT_THAT(text, HasSubstr("tensorflow.serving.PredictionService"));
    EXPECT_THAT(text, HasSubstr("tensorflow.serving.ModelService"));
    context.TryCancel();
    grpc::Status status;
    call->Finish(&status, this);
    next();
  }
}

TEST_F(GrpcServerTest, CallsAreCounted) {
  ASSERT_EQ(text_of(predict()), "OK");
  grpc::ClientContext context;
  ASSERT_FALSE(predict(context, "no image").ok());
  tfs::GetModelStatusResponse answer;
  grpc::ClientContext other;
  ASSERT_FALSE(models_->GetModelStatus(&other, {}, &answer).ok());
  const std::string page = core_->metrics.prometheus();
  EXPECT_THAT(page, Not(HasSubstr("model_name=\"\""))) << "only predictions count";
  EXPECT_THAT(page, HasSubstr("request_count{model_name=\"stripes\",status=\"OK\"} 1"));
  EXPECT_THAT(page, HasSubstr("request_count{model_name=\"stripes\",status=\"INVALID_ARGUMENT\"} 1"));
  EXPECT_THAT(page, HasSubstr("API=\"Predict\",entrypoint=\"GRPC\""));
}

TEST_F(GrpcServerTest, WhatIsInHandIsFinishedAtTheEnd) {
  std::vector<ComputeSlots::Lease> held = hold_all();
  grpc::Status status;
  std::thread client([&] { status = predict(); });
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  std::thread drain([&] { server_->drain(ServeClock::now() + 20s); });
  std::this_thread::sleep_for(50ms);
  held.clear();
  client.join();
  drain.join();
  EXPECT_EQ(text_of(status), "OK");
  EXPECT_THAT(text_of(predict()), HasSubstr("UNAVAILABLE"));
  server_.reset();
}

TEST_F(GrpcServerTest, TheEndDoesNotWaitBeyondItsDeadline) {
  std::vector<ComputeSlots::Lease> held = hold_all();
  grpc::Status status;
  std::thread client([&] { status = predict(); });
  EXPECT_TRUE(eventually([&] { return core_->slots->waiting() == 1; }));
  server_->drain(ServeClock::now() + 50ms);
  client.join();
  EXPECT_FALSE(status.ok());
  server_.reset();
}

TEST_F(GrpcServerTest, APortThatIsInUseIsAnError) {
  GrpcOptions same = options_;
  same.port = server_->port();
  const auto second = GrpcServer::start(same, *core_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kIo);
  EXPECT_THAT(second.status().message(), HasSubstr("127.0.0.1:" + std::to_string(same.port)));
}

std::string slurp(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Keys for localhost, made anew.
class GrpcSsl : public GrpcServerTest {
 protected:
  void SetUp() override {
    GrpcServerTest::SetUp();
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout '" +
        path("key") + "' -out '" + path("cert") + "' 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << "the program openssl is missing";
  }
  void write_config(const std::string& more = "") {
    const auto quoted = [](std::string text) {
      for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
        text.replace(at, 1, "\\n");
      return "\"" + text + "\"";
    };
    std::ofstream(path("ssl")) << "server_key: " << quoted(slurp(path("key")))
                               << "\nserver_cert: " << quoted(slurp(path("cert"))) << "\n"
                               << more;
  }
  std::string call(bool with_certificate) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = slurp(path("cert"));
    if (with_certificate) {
      ssl.pem_private_key = slurp(path("key"));
      ssl.pem_cert_chain = ssl.pem_root_certs;
    }
    // By number, the certificate's name told: c-ares 1.18 loses memory when it looks up "localhost".
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("localhost");
    const auto channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                                   grpc::SslCredentials(ssl), arguments);
    predictions_ = tfs::PredictionService::NewStub(channel);
    return text_of(predict());
  }
};

TEST_F(GrpcSsl, EncryptsAndAsksForCertificates) {
  write_config();
  auto config = read_ssl_config(path("ssl"));
  ASSERT_TRUE(config.ok()) << config.status().message();
  options_.ssl = *config;
  start();
  EXPECT_THAT(text_of(predict()), HasSubstr("UNAVAILABLE")) << "a client that does not encrypt";
  EXPECT_EQ(call(false), "OK");
  options_.ssl->ca = slurp(path("cert"));
  options_.ssl->client_verify = true;
  start();
  EXPECT_THAT(call(false), HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(call(true), "OK");
}

TEST_F(GrpcSsl, BadConfigurationsAreNamed) {
  write_config("client_verify: true");
  EXPECT_THAT(read_ssl_config(path("ssl")).status().message(),
              HasSubstr("ssl: client_verify needs custom_ca"));
  std::ofstream(path("ssl")) << "server_key: \"x\"\n";
  EXPECT_THAT(read_ssl_config(path("ssl")).status().message(),
              HasSubstr("expected server_key and server_cert"));
  std::ofstream(path("ssl")) << "server_key: \"x\"\nserver_kert: 1\n";
  EXPECT_THAT(read_ssl_config(path("ssl")).status().message(), HasSubstr("ssl:2:"));
  EXPECT_EQ(read_ssl_config(path("none")).status().code(), StatusCode::kIo);
  GrpcOptions broken = options_;
  broken.ssl = SslOptions{"no key", "no certificate", "", false};
  EXPECT_EQ(GrpcServer::start(broken, *core_).status().message(),
            "gRPC: 127.0.0.1:0: the keys are no PEM texts");
}

}  // namespace
}  // namespace nacre
