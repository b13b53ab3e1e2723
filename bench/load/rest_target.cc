#include "bench/load/rest_target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

namespace nacre::load {
namespace {

Status failed(const std::string& reason) {
  return {StatusCode::kIo, "REST: " + reason};
}

/// A socket that reads and writes whole HTTP messages whose length is told.
class HttpConnection {
 public:
  explicit HttpConnection(int socket) : socket_(socket) {}
  ~HttpConnection() { ::close(socket_); }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  Status exchange(std::string_view request) {
    while (!request.empty()) {
      const ssize_t sent = ::send(socket_, request.data(), request.size(), MSG_NOSIGNAL);
      if (sent <= 0) return failed("cannot send");
      request.remove_prefix(static_cast<size_t>(sent));
    }
    size_t head = 0;
    while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return failed("the server closed the connection");
    std::string lower = buffer_.substr(0, head + 2);
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    constexpr std::string_view kLength = "content-length: ";
    const size_t at = lower.find(kLength);
    size_t length = 0;
    if (at == std::string::npos) return failed("a reply without a length");
    std::from_chars(lower.data() + at + kLength.size(), lower.data() + lower.size(), length);
    while (buffer_.size() < head + 4 + length)
      if (!fill()) return failed("half a reply");
    const bool good = lower.starts_with("http/1.1 200");
    const std::string shown =
        good ? "" : buffer_.substr(0, lower.find('\r')) + " " + buffer_.substr(head + 4, 200);
    buffer_.erase(0, head + 4 + length);
    return good ? Status() : failed(shown);
  }

 private:
  bool fill() {
    std::array<char, 65536> bytes{};
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got > 0) buffer_.append(bytes.data(), static_cast<size_t>(got));
    return got > 0;
  }

  int socket_;
  std::string buffer_;
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
  return [=]() -> Result<Connection> {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return failed(host + " is no IPv4 address");
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return failed("no socket");
    auto connection = std::make_shared<HttpConnection>(socket);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return failed("cannot connect to " + host + ":" + std::to_string(port));
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return Connection(
        [connection, requests](size_t i) { return connection->exchange((*requests)[i % requests->size()]); });
  };
}

}  // namespace nacre::load
