#include "tests/serve/serve_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/plan.h"
#include "image/encode.h"
#include "layers/registry.h"
#include "runtime/golden.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 6;
constexpr std::chrono::milliseconds kWireTime{10000};

}  // namespace

Bundle make_small_bundle(uint64_t seed, int64_t classes, bool labels) {
  std::vector<Node> nodes(4);
  nodes[0] = {"conv", "Conv2D", 1, {{"filters", int64_t{4}}, {"kernel_size", int64_t{3}}}, {"input"}};
  nodes[1] = {"pool", "MaxPool2D", 1, {}, {"conv"}};
  nodes[2] = {"flatten", "Flatten", 1, {}, {"pool"}};
  nodes[3] = {"out", "Dense", 1, {{"units", classes}}, {"flatten"}};
  const Registry registry = builtin_ops();
  auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const auto plan = Plan::make(*graph, registry, Shape{kSide, kSide, 3}, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  InputContract contract;
  contract.height = kSide;
  contract.width = kSide;
  contract.channels = 3;
  for (int64_t i = 0; labels && i < classes; ++i) contract.labels.emplace_back(1, static_cast<char>('a' + i));
  auto bundle = make_prediction_bundle("small", *graph, plan->initial_variables(seed), contract, registry);
  EXPECT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_TRUE(add_golden_vectors(*bundle, registry).ok());
  return std::move(bundle).value();
}

std::vector<std::byte> make_picture(int number, int64_t height, int64_t width) {
  Image image{height, width, 3, {}};
  for (int i = 0; i < height * width * 3; ++i) {
    image.pixels.push_back(static_cast<uint8_t>((i * (31 + number)) % 251));
  }
  auto encoded = encode_png(image);
  EXPECT_TRUE(encoded.ok());
  return std::move(encoded).value();
}

void ServeTest::SetUp() {
  options_.slots = 2;
  options_.models.poll = std::chrono::milliseconds(0);
  rest_options_.http.address = "127.0.0.1";
  rest_options_.http.threads = 4;
}

void ServeTest::TearDown() {
  rest_.reset();
  core_.reset();
}

void ServeTest::write_version(const std::string& folder, const Bundle& bundle) const {
  fs::create_directories(path(folder));
  const Status written = write_bundle(path(folder) + "/model.nacre", bundle, {});
  ASSERT_TRUE(written.ok()) << written.message();
}

void ServeTest::write_file(const std::string& name, std::string_view bytes) const {
  fs::create_directories(fs::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << bytes;
}

void ServeTest::serve(std::vector<ModelConfig> configs) {
  core_ = std::make_unique<ServeCore>(options_, [this](std::string_view line) {
    const std::lock_guard lock(lines_mutex_);
    lines_.emplace_back(line);
  });
  const RpcStatus reloaded = core_->models.reload(std::move(configs));
  // A test may want a model that is not available.
  ASSERT_TRUE(reloaded.ok() || reloaded.code() == RpcCode::kUnknown) << reloaded.message();
}

void ServeTest::serve_rest() {
  auto started = RestServer::start(rest_options_, *core_);
  ASSERT_TRUE(started.ok()) << started.status().message();
  rest_ = std::move(started).value();
}

std::shared_ptr<const Servable> ServeTest::found(const std::string& name,
                                                 std::optional<int64_t> version) const {
  auto servable = core_->models.find({name, version, ""});
  return servable.ok() ? *servable : nullptr;
}

std::vector<std::string> ServeTest::lines() const {
  const std::lock_guard lock(lines_mutex_);
  return lines_;
}

Wire::Wire(uint16_t port) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (socket_ >= 0 && ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    close();
  const int on = 1;
  if (connected()) ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Wire::~Wire() {
  close();
}

void Wire::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void Wire::finish_sending() const {
  ::shutdown(socket_, SHUT_WR);
}

bool Wire::send(std::string_view bytes) const {
  if (!connected()) return false;
  while (!bytes.empty()) {
    pollfd ready{socket_, POLLOUT, 0};
    if (::poll(&ready, 1, static_cast<int>(kWireTime.count())) <= 0) return false;
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Wire::fill() {
  if (!connected()) return false;
  pollfd ready{socket_, POLLIN, 0};
  if (::poll(&ready, 1, static_cast<int>(kWireTime.count())) <= 0) return false;
  char bytes[4096];
  const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::string Wire::read(size_t bytes) {
  while (buffer_.size() < bytes && fill()) {
  }
  std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, taken.size());
  return taken;
}

WireReply Wire::receive(bool without_body) {
  WireReply reply;
  size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return reply;
  }
  reply.head = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  if (!reply.head.starts_with("HTTP/1.1 ")) return reply;
  reply.status = std::atoi(reply.head.c_str() + 9);
  const size_t length_at = reply.head.find("Content-Length: ");
  if (length_at == std::string::npos || without_body) return reply;
  const auto length = static_cast<size_t>(std::atoll(reply.head.c_str() + length_at + 16));
  while (buffer_.size() < length) {
    if (!fill()) return {};
  }
  reply.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return reply;
}

WireReply Wire::ask(std::string_view method, std::string_view target, std::string_view body,
                    std::string_view headers) {
  std::string request;
  request.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: test\r\n").append(headers);
  if (!body.empty() || method == "POST") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  request.append("\r\n").append(body);
  if (!send(request)) return {};
  return receive(method == "HEAD");
}

bool Wire::closes_within(std::chrono::milliseconds time) const {
  pollfd ready{socket_, POLLIN, 0};
  if (::poll(&ready, 1, static_cast<int>(time.count())) <= 0) return false;
  char byte = 0;
  return ::recv(socket_, &byte, 1, 0) <= 0;
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace nacre
