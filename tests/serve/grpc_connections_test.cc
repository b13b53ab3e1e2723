// gRPC's connections: how many there may be, and what becomes of them when files run out.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

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
  start();
  EXPECT_EQ(connect().status(), "OK");
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
