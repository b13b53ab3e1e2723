// Memory that runs out beside an answer: in what gRPC's events do.
#include <atomic>
#include <chrono>
#include <new>

#include "schemas/grpc/health.grpc.pb.h"
#include "serve/grpc/unary_call.h"
#include "tests/serve/grpc_fixture.h"

namespace nacre {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

/// Check, for which there is no memory as often as a test wants.
struct ForgetfulHealth : Health::WithRawMethod_Check<Health::Service> {
  using Call = UnaryCall<ForgetfulHealth>;

  void request(grpc::ServerContext* context, grpc::ByteBuffer* question, Call::Writer* writer,
               grpc::CompletionQueue* calls, grpc::ServerCompletionQueue* events, void* tag) {
    if (fails(next_calls_to_fail)) throw std::bad_alloc();
    RequestCheck(context, question, writer, calls, events, tag);
  }
  void take(Call& call) {
    if (fails(answers_to_fail)) throw std::bad_alloc();
    HealthCheckResponse response;
    response.set_status(HealthCheckResponse::SERVING);
    call.finish({}, &response);
  }
  static bool fails(std::atomic<int>& left) {
    if (left == 0) return false;
    --left;
    return true;
  }

  std::atomic<int> next_calls_to_fail{0};
  std::atomic<int> answers_to_fail{0};
};

class GrpcMemory : public testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    auto queue = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    threads_.start(std::move(queue));
    using Call = ForgetfulHealth::Call;
    const auto take = [this](Call& call) { service_.take(call); };
    Call::await(service_, std::make_shared<Call::Method>(Call::Method{&ForgetfulHealth::request, take}),
                threads_);
    stub_ = Health::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    server_->Shutdown();
    threads_.stop();
  }
  std::string check() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    HealthCheckResponse response;
    return text_of(stub_->Check(&context, {}, &response));
  }

  ForgetfulHealth service_;
  std::unique_ptr<grpc::Server> server_;
  CallThreads threads_{{.at_once = 2}};
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(GrpcMemory, ACallThatThereIsNoRoomForIsRefused) {
  EXPECT_EQ(check(), "OK");
  service_.answers_to_fail = 1;
  EXPECT_EQ(check(), "RESOURCE_EXHAUSTED: out of memory");
  EXPECT_EQ(check(), "OK");
}

TEST_F(GrpcMemory, TheNextCallIsAwaitedWhenThereIsRoomAgain) {
  service_.next_calls_to_fail = 3;
  EXPECT_EQ(check(), "OK");
  EXPECT_EQ(check(), "OK");
  EXPECT_EQ(service_.next_calls_to_fail, 0);
}

}  // namespace
}  // namespace nacre
