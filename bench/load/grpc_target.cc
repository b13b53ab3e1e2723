#include "bench/load/grpc_target.h"

#include <nghttp2/nghttp2.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "bench/load/connect.h"

namespace nacre::load {
namespace {

Status failed(const std::string& reason) {
  return {StatusCode::kIo, "gRPC: " + reason};
}

/// Before each message: whether it is compressed, and its length, the highest byte first.
constexpr size_t kPrefixBytes = 5;

std::string with_prefix(const std::string& message) {
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) framed += static_cast<char>(message.size() >> shift);
  return framed + message;
}

bool is_one_message(std::string_view framed) {
  if (framed.size() < kPrefixBytes || framed[0] != '\0') return false;
  size_t length = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | static_cast<uint8_t>(framed[i]);
  return length == framed.size() - kPrefixBytes;
}

/// A header whose texts outlive the request.
nghttp2_nv header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));  // NOLINT: read only
  };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/// One connection with one call at a time.
class GrpcConnection final : public Connection {
 public:
  using Messages = std::shared_ptr<const std::vector<std::string>>;
  GrpcConnection(int socket, std::string host, std::string path, Messages framed)
      : socket_(socket), host_(std::move(host)), path_(std::move(path)), framed_(std::move(framed)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~GrpcConnection() override {
    nghttp2_session_del(session_);
    ::close(socket_);
  }
  GrpcConnection(const GrpcConnection&) = delete;
  GrpcConnection& operator=(const GrpcConnection&) = delete;

  [[nodiscard]] int socket() const override { return socket_; }

  Status start(size_t i) override {
    const std::array headers = {header(":method", "POST"), header(":scheme", "http"),
                                header(":path", path_),    header(":authority", host_),
                                header("te", "trailers"),  header("content-type", "application/grpc")};
    left_ = (*framed_)[i % framed_->size()];
    reply_.clear();
    status_.clear();
    message_.clear();
    closed_ = false;
    nghttp2_data_provider body{};
    body.read_callback = read_body;
    if (nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &body, nullptr) < 0)
      return failed("cannot send");
    return flush();
  }

  Result<Arrival> receive() override {
    const auto received = receive_some(socket_, received_);
    if (!received.ok()) return failed(received.status().message());
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(received_.data()),
                                 received->bytes) < 0)
      return failed("the server's bytes are no HTTP/2");
    NACRE_RETURN_IF_ERROR(flush());  // what the server is owed
    if (!closed_) return Arrival();
    if (status_ != "0") return failed("grpc-status " + status_ + " " + message_);
    if (!is_one_message(reply_)) return failed("the reply is not one message");
    return Arrival(received->arrived);
  }

 private:
  Status flush() {
    std::string bytes;
    const uint8_t* part = nullptr;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(session_, &part)) > 0)
      bytes.append(reinterpret_cast<const char*>(part), static_cast<size_t>(size));
    return size < 0 ? failed("cannot send") : send_all(socket_, bytes);
  }

  static GrpcConnection& self(void* user) { return *static_cast<GrpcConnection*>(user); }
  static ssize_t read_body(nghttp2_session* /*session*/, int32_t /*stream*/, uint8_t* out, size_t room,
                           uint32_t* flags, nghttp2_data_source* /*source*/, void* user) {
    std::string_view& left = self(user).left_;
    const size_t count = std::min(room, left.size());
    std::memcpy(out, left.data(), count);
    left.remove_prefix(count);
    if (left.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }
  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t /*flags*/,
                       void* user) {
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (key == "grpc-status") self(user).status_ = text;
    if (key == "grpc-message") self(user).message_ = text;
    return 0;
  }
  static int on_data(nghttp2_session* /*session*/, uint8_t /*flags*/, int32_t /*stream*/,
                     const uint8_t* bytes, size_t size, void* user) {
    self(user).reply_.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }
  static int on_close(nghttp2_session* /*session*/, int32_t /*stream*/, uint32_t /*error*/, void* user) {
    self(user).closed_ = true;
    return 0;
  }

  const int socket_;
  const std::string host_;
  const std::string path_;
  const Messages framed_;
  nghttp2_session* session_ = nullptr;
  std::array<char, 16384> received_{};
  std::string_view left_;  ///< of the request's body
  std::string reply_;
  std::string status_;
  std::string message_;
  bool closed_ = false;
};

}  // namespace

Target grpc_target(const std::string& host, int port, const std::string& path,
                   const std::vector<std::string>& messages) {
  auto framed = std::make_shared<std::vector<std::string>>();
  for (const std::string& message : messages) framed->push_back(with_prefix(message));
  return [=]() -> Result<std::unique_ptr<Connection>> {
    NACRE_ASSIGN_OR_RETURN(const int socket, connect_to(host, port));
    return std::unique_ptr<Connection>(std::make_unique<GrpcConnection>(socket, host, path, framed));
  };
}

}  // namespace nacre::load
