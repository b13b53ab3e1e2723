#include "bench/load/rest_target.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "bench/load/connect.h"

namespace nacre::load {
namespace {

Status failed(const std::string& reason) {
  return {StatusCode::kIo, "REST: " + reason};
}

/// A socket that reads and writes whole HTTP messages whose length is told.
class HttpConnection final : public Connection {
 public:
  using Requests = std::shared_ptr<const std::vector<std::string>>;
  HttpConnection(int socket, Requests requests) : socket_(socket), requests_(std::move(requests)) {}
  ~HttpConnection() override { ::close(socket_); }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  [[nodiscard]] int socket() const override { return socket_; }

  Status start(size_t i) override {
    got_ = whole_ = head_ = 0;
    return send_all(socket_, (*requests_)[i % requests_->size()]);
  }

  Result<Arrival> receive() override {
    if (got_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
    const auto received = receive_some(socket_, std::span(buffer_).subspan(got_));
    if (!received.ok()) return failed(received.status().message());
    got_ += received->bytes;
    const std::string_view text(buffer_.data(), got_);
    if (whole_ == 0) {
      head_ = text.find("\r\n\r\n");
      if (head_ == std::string_view::npos) return Arrival();
      const std::optional<size_t> length = content_length(text.substr(0, head_ + 2));
      if (!length.has_value()) return failed("a reply without a length");
      whole_ = head_ + 4 + *length;
    }
    if (got_ < whole_) return Arrival();
    if (text.starts_with("HTTP/1.1 200")) return Arrival(received->arrived);
    return failed(std::string(text.substr(0, text.find('\r'))) + " " +
                  std::string(text.substr(head_ + 4, 200)));
  }

 private:
  /// Of a reply's head.
  static std::optional<size_t> content_length(std::string_view head) {
    constexpr std::string_view kName = "content-length: ";
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
    const auto* const found = std::search(head.begin(), head.end(), kName.begin(), kName.end(), same);
    size_t length = 0;
    if (found == head.end()) return std::nullopt;
    std::from_chars(found + kName.size(), head.end(), length);
    return length;
  }

  const int socket_;
  const Requests requests_;
  std::vector<char> buffer_ = std::vector<char>(4096);
  size_t got_ = 0;
  size_t whole_ = 0;  ///< bytes of the reply, once they are known
  size_t head_ = 0;
};

}  // namespace

Target rest_target(const std::string& host, int port, const std::string& path,
                   std::vector<std::string> bodies) {
  auto requests = std::make_shared<std::vector<std::string>>();
  for (const std::string& body : bodies) {
    requests->push_back("POST " + path + " HTTP/1.1\r\nHost: " + host +
                        "\r\nContent-Type: application/json\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  return [=]() -> Result<std::unique_ptr<Connection>> {
    NACRE_ASSIGN_OR_RETURN(const int socket, connect_to(host, port));
    return std::unique_ptr<Connection>(std::make_unique<HttpConnection>(socket, requests));
  };
}

}  // namespace nacre::load
