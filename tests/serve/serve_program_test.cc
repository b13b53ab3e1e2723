// The program itself: its flags, its life and its end.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/serve/options.h"
#include "engine/base64.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A started nacre-serve.
class Server {
 public:
  Server(const std::string& folder, const std::string& program, std::vector<std::string> arguments)
      : out_(folder + "/out"), err_(folder + "/err") {
    arguments.insert(arguments.begin(), program);
    pid_ = fork();
    if (pid_ != 0) return;
    const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(out, 1);
    dup2(err, 2);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv((std::string(NACRE_BINARY_DIR) + "/" + program).c_str(), argv.data());
    _exit(99);
  }
  ~Server() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void send(int number) const { kill(pid_, number); }
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  [[nodiscard]] std::string out() const { return text_of(out_); }
  [[nodiscard]] std::string err() const { return text_of(err_); }
  /// The port that it says REST is at; 0 when it says none within 20 seconds.
  [[nodiscard]] uint16_t rest_port() const {
    uint16_t port = 0;
    eventually([&] {
      const std::string text = err();
      const size_t at = text.find("REST at 127.0.0.1:");
      if (at == std::string::npos || text.find('\n', at) == std::string::npos) return false;
      port = static_cast<uint16_t>(std::atoi(text.c_str() + at + 18));
      return true;
    });
    return port;
  }

 private:
  static std::string text_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return std::move(text).str();
  }

  std::string out_;
  std::string err_;
  pid_t pid_ = -1;
};

class ServeProgram : public ServeTest {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    write_version("m/1", make_small_bundle(1));
  }
  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"--address=127.0.0.1", "--rest_api_port=" + std::to_string(free_port()),
                                    "--port=0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// One that nobody listens to, at least just now.
  static int free_port() {
    HttpServer::Options options;
    options.address = "127.0.0.1";
    auto probe = HttpServer::start(options, {});
    return (*probe)->port();
  }
};

TEST(ServeOptionsTest, DashesAreUnderscores) {
  const std::vector<const char*> argv = {"nacre-serve", "--model-name=a-b", "--rest-api-port", "-1", "--x_y"};
  EXPECT_THAT(normalized_arguments(static_cast<int>(argv.size()), argv.data()),
              ElementsAre("--model_name=a-b", "--rest_api_port", "-1", "--x_y"));
}

TEST(ServeOptionsTest, TensorflowServingsFlagsAreTaken) {
  CLI::App app;
  ServeOptions options;
  add_serve_options(app, options);
  const std::vector<const char*> argv = {"nacre-serve",
                                         "--tensorflow-session-parallelism=4",
                                         "--port",
                                         "1",
                                         "--flush_filesystem_caches",
                                         "--enable_batching=false",
                                         "--grpc_channel_arguments=grpc.max_concurrent_streams=9",
                                         "--saved_model_tags",
                                         "serve",
                                         "--rest_api_port=2"};
  std::vector<std::string> arguments = normalized_arguments(static_cast<int>(argv.size()), argv.data());
  std::ranges::reverse(arguments);
  app.parse(std::move(arguments));
  EXPECT_EQ(options.port, 1);
  EXPECT_EQ(options.rest_api_port, 2);
  EXPECT_THAT(options.ignored,
              testing::UnorderedElementsAre("--tensorflow_session_parallelism", "--flush_filesystem_caches",
                                            "--grpc_channel_arguments", "--saved_model_tags"));
  EXPECT_EQ(app.help().find("saved_model_tags"), std::string::npos);
}

TEST_F(ServeProgram, ServesUntilSigterm) {
  Server server(folder_.path(), "nacre", [&] {
    std::vector<std::string> all =
        arguments({"--model-name=m", "--model_base_path=" + path("m"), "--access_log=json"});
    all.insert(all.begin(), "serve");
    return all;
  }());
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  ASSERT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v2/health/ready").status == 200; }))
      << server.err();
  const WireReply reply =
      Wire(port).ask("POST", "/v1/models/m:predict",
                     R"({"instances":[{"b64":")" + encode_base64(make_picture(1)) + R"("}]})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  server.send(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.err();
  std::istringstream messages(server.err());
  std::string last;
  for (std::string line; std::getline(messages, line); last = line) {
    EXPECT_TRUE(nlohmann::json::parse(line).contains("time")) << line;
  }
  EXPECT_EQ(nlohmann::json::parse(last)["message"], "stopping: finishing what is in hand");
  EXPECT_THAT(server.out(),
              HasSubstr(R"("method": "POST", "target": "/v1/models/m:predict", "status": 200)"));
  EXPECT_FALSE(Wire(port).connected());
}

TEST_F(ServeProgram, ALogThatNobodyReadsHoldsNothingUp) {
  // The server's standard output, of which a page is taken.
  ASSERT_EQ(mkfifo(path("out").c_str(), 0600), 0);
  const int reader = open(path("out").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(fcntl(reader, F_SETPIPE_SZ, 4096), 4096);
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_base_path=" + path("m"), "--access_log=json", "--drain_seconds=1"}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  Wire wire(port);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(wire.ask("GET", "/v2/health/live").status, 200) << i;
  const ServeClock::time_point begun = ServeClock::now();
  server.send(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.err();
  EXPECT_LT(ServeClock::now() - begun, std::chrono::seconds(10));
  close(reader);
}

TEST_F(ServeProgram, ALogWhoseReaderHasGoneEndsNothing) {
  ASSERT_EQ(mkfifo(path("out").c_str(), 0600), 0);
  const int reader = open(path("out").c_str(), O_RDONLY | O_NONBLOCK);
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_base_path=" + path("m"), "--access_log=text"}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  close(reader);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Wire(port).ask("GET", "/v2/health/live").status, 200) << i;
  server.send(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.err();
}

TEST_F(ServeProgram, IsNotReadyWhileItStops) {
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_name=m", "--model_base_path=" + path("m")}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  ASSERT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v2/health/ready").status == 200; }));
  Wire open(port);
  open.send("GET /v2/health/ready HTTP/1.1\r\n");  // has begun, and so has its time
  server.send(SIGTERM);
  EXPECT_TRUE(eventually([&] { return !Wire(port).connected(); }));
  open.send("Host: test\r\n\r\n");
  const WireReply reply = open.receive();
  EXPECT_EQ(reply.status, 503);
  EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
  open.close();
  EXPECT_EQ(server.wait(), 0) << server.err();
}

TEST_F(ServeProgram, AFlagWithoutItsValueIsRefused) {
  Server server(folder_.path(), "nacre-serve", arguments({"--model-base-path=", "--model_name=m"}));
  EXPECT_EQ(server.wait(), 2);
  EXPECT_THAT(server.err(), HasSubstr("nacre: --model_base_path: needs a value "));
  EXPECT_THAT(server.err(), HasSubstr(" (see nacre-serve --help)\n"));
}

TEST_F(ServeProgram, FollowsItsConfigurationFile) {
  const auto config = [&](const std::string& name) {
    return "model_config_list { config { name: \"" + name + "\" base_path: \"" + path("m") + "\" } }";
  };
  write_file("models.config", config("first"));
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_config_file=" + path("models.config"),
                           "--model_config_file_poll_wait_seconds=0.05"}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  ASSERT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v1/models/first").status == 200; }))
      << server.err();
  write_file("models.config", config("second"));
  EXPECT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v1/models/second").status == 200; }))
      << server.err();
  EXPECT_EQ(Wire(port).ask("GET", "/v1/models/first").status, 404);
  write_file("models.config", "nonsense {");
  EXPECT_TRUE(eventually([&] { return server.err().find("models.config:1:") != std::string::npos; }));
  EXPECT_EQ(Wire(port).ask("GET", "/v1/models/second").status, 200) << "a bad file changes nothing";
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::string err = server.err();
  EXPECT_EQ(err.find("models.config:1:"), err.rfind("models.config:1:")) << "told of once: " << err;
}

TEST_F(ServeProgram, TheConfigurationFileWins) {
  write_file("models.config",
             "model_config_list { config { name: 'other' base_path: '" + path("m") + "' } }");
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_name=m", "--model_base_path=" + path("none"),
                           "--model_config_file=" + path("models.config")}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  EXPECT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v2/models/other/ready").status == 200; }));
  EXPECT_EQ(Wire(port).ask("GET", "/v1/models/m").status, 404);
}

TEST_F(ServeProgram, NewVersionsGoLiveWithoutAskingFor) {
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_name=m", "--model_base_path=" + path("m"),
                           "--file_system_poll_wait_seconds=0.05", "--enable_batching"}));
  const uint16_t port = server.rest_port();
  ASSERT_NE(port, 0) << server.err();
  ASSERT_TRUE(eventually([&] { return Wire(port).ask("GET", "/v1/models/m/versions/1").status == 200; }));
  write_version("m/2", make_small_bundle(2));
  EXPECT_TRUE(eventually([&] {
    return Wire(port).ask("GET", "/v1/models/m/versions/2").body.find("AVAILABLE") != std::string::npos;
  }));
}

TEST_F(ServeProgram, TellsWhatItTakesNoNoticeOf) {
  write_file("batching",
             "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8\n"
             "pad_variable_length_inputs: true thread_pool_name { value: \"pool\" }\n");
  Server server(folder_.path(), "nacre-serve",
                arguments({"--model_base_path=" + path("m"), "--enable_batching", "--num_load_threads=2",
                           "--enable_grpc_healthcheck_service=true", "--tensorflow_intra_op_parallelism=0",
                           "--tensorflow_session_config_file=none", "--mixed_precision",
                           "--batching_parameters_file=" + path("batching")}));
  ASSERT_NE(server.rest_port(), 0) << server.err();
  const std::string err = server.err();
  for (const char* const name :
       {"--num_load_threads", "--tensorflow_session_config_file", "--mixed_precision", "allowed_batch_sizes",
        "pad_variable_length_inputs", "thread_pool_name"}) {
    EXPECT_THAT(err, HasSubstr(std::string(name) + ": has no meaning here, is ignored\n"));
  }
  EXPECT_EQ(err.find("max_batch_size"), std::string::npos) << err;
  EXPECT_EQ(err.find("healthcheck"), std::string::npos) << "it has it: " << err;
}

TEST_F(ServeProgram, RefusesWrongOptions) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "expected --model_base_path or --model_config_file"},
      {{"--no_such_flag"}, "no_such_flag"},
      {{"--model_base_path=m", "--rest_api_port=70000"}, "rest_api_port"},
      {{"--model_base_path=m", "--batching_parameters_file=f"}, "without --enable_batching"},
      {{"--model_base_path=m", "--model_name=a/b"}, "has a '/'"},
  };
  for (const auto& [given, expected] : cases) {
    Server server(folder_.path(), "nacre-serve", given);
    EXPECT_EQ(server.wait(), 2);
    const std::string err = server.err();
    EXPECT_THAT(err, HasSubstr(expected));
    EXPECT_EQ(std::ranges::count(err, '\n'), 1) << err;
  }
  Server server(folder_.path(), "nacre-serve", {"--model_config_file=" + path("none")});
  EXPECT_EQ(server.wait(), 5);
}

}  // namespace
}  // namespace nacre
