// gRPC's connections: how many there may be, what becomes of them when files run out, and of replies that
// they do not take.
#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/serve/grpc_fixture.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class GrpcConnections : public GrpcTest {
 protected:
  /// A connection of its own.
  struct Client {
    std::shared_ptr<grpc::Channel> channel;

    std::string status() const {
      const auto stub = tensorflow::serving::ModelService::NewStub(channel);
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + 20s);
      tensorflow::serving::GetModelStatusRequest request;
      request.mutable_model_spec()->set_name("stripes");
      tensorflow::serving::GetModelStatusResponse response;
      return text_of(stub->GetModelStatus(&context, request, &response));
    }
  };
  Client connect(const std::string& host = "127.0.0.1") {
    grpc::ChannelArguments own;
    own.SetInt("nacre.test.connection", ++connections_);
    own.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // what is sent before somebody reads is little
    own.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16384);
    return {grpc::CreateCustomChannel(host + ":" + std::to_string(server_->port()),
                                      grpc::InsecureChannelCredentials(), own)};
  }

 private:
  int connections_ = 0;
};

TEST_F(GrpcConnections, MoreThanMayBeAreClosed) {
  options_.max_connections = 2;
  start();
  const Client first = connect();
  auto second = std::make_optional(connect());
  EXPECT_EQ(first.status(), "OK");
  EXPECT_EQ(second->status(), "OK");
  EXPECT_THAT(connect().status(), HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(first.status(), "OK");
  second.reset();
  EXPECT_TRUE(eventually([&] { return connect().status() == "OK"; })) << "there is room again";
}

/// A call whose client does not read the reply until it is asked to.
class Stalled {
 public:
  Stalled(const std::shared_ptr<grpc::Channel>& channel, const grpc::ByteBuffer& request) : stub_(channel) {
    context_.set_deadline(std::chrono::system_clock::now() + 60s);
    call_ = stub_.PrepareCall(&context_, "/tensorflow.serving.PredictionService/Predict", &queue_);
    call_->StartCall(this);
    next();
    call_->WriteLast(request, {}, this);
    next();
  }
  std::string finish() {
    grpc::ByteBuffer reply;
    grpc::Status status;
    call_->Read(&reply, this);
    next();
    call_->Finish(&status, this);
    next();
    return text_of(status);
  }

 private:
  void next() {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue_.Next(&tag, &ok));
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

TEST_F(GrpcConnections, RepliesThatNobodyTakesAreBounded) {
  constexpr int kImages = 4096;
  tensorflow::serving::PredictRequest request;
  request.mutable_model_spec()->set_name("stripes");
  request.mutable_model_spec()->set_signature_name("labelled_image");
  (*request.mutable_inputs())["image"] = string_tensor(std::vector<std::string>(kImages, jpeg_));
  grpc::ByteBuffer bytes;
  bool own = false;
  ASSERT_TRUE(
      grpc::SerializationTraits<tensorflow::serving::PredictRequest>::Serialize(request, &bytes, &own).ok());
  const auto answered = [&] {
    return core_->metrics.prometheus().find("request_count{model_name=\"stripes\",status=\"OK\"} 2") !=
           std::string::npos;
  };
  for (const size_t bound : {size_t{150'000}, size_t{1} << 20}) {
    options_.max_unsent_bytes = bound;  // a reply has more than 100,000
    start();
    Stalled first(connect().channel, bytes);
    Stalled second(connect().channel, bytes);
    ASSERT_TRUE(eventually(answered));
    std::this_thread::sleep_for(50ms);
    const bool room = bound > 200'000;
    const std::array ends = {first.finish(), second.finish()};
    EXPECT_EQ(std::ranges::count(ends, "OK"), room ? 2 : 1) << ends[0] << ", " << ends[1];
    const auto cut_off = [](const std::string& end) { return end.starts_with("CANCELLED"); };
    EXPECT_EQ(std::ranges::count_if(ends, cut_off), room ? 0 : 1);
  }
}

TEST_F(GrpcConnections, OutliveTheEndOfDescriptors) {
  const Client old = connect();
  EXPECT_EQ(old.status(), "OK");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<int> taken = {open("/dev/null", O_RDONLY | O_CLOEXEC)};
  rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(taken.front()) + 10;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  while (taken.back() >= 0) taken.push_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  taken.pop_back();
  close(taken.back());
  taken.pop_back();
  // Takes the last one, so that the server has none for its end.
  const Wire refused(static_cast<uint16_t>(server_->port()));
  EXPECT_TRUE(refused.connected());
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(old.status(), "OK");
  for (const int fd : taken) close(fd);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(connect().status(), "OK");
}

TEST_F(GrpcConnections, EveryAddressIsThatOfBothFamilies) {
  options_.address = "0.0.0.0";
  std::atomic<int> known{0};
  options_.access = [&](const AccessRecord& record) { known += record.peer == "127.0.0.1" ? 1 : 0; };
  start();
  EXPECT_EQ(connect().status(), "OK");
  EXPECT_TRUE(eventually([&] { return known == 1; })) << "a client over IPv4 has its own address";
  options_.access = {};
  if (::access("/proc/net/if_inet6", R_OK) == 0) {
    EXPECT_EQ(connect("[::1]").status(), "OK");
  }
  options_.address = "localhost";
  start();
  EXPECT_EQ(connect().status(), "OK");
  options_.address = "no such name";
  const auto nowhere = GrpcServer::start(options_, *core_);
  EXPECT_EQ(nowhere.status().code(), StatusCode::kIo);
  EXPECT_THAT(nowhere.status().message(), HasSubstr("gRPC: no such name:0: the name stands for no address"));
}

}  // namespace
}  // namespace nacre
