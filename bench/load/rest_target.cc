#include "bench/load/rest_target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
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
    size_t got = 0;
    size_t whole = 0;  // bytes of the reply, once they are known
    size_t head = 0;
    while (whole == 0 || got < whole) {
      if (got == buffer_.size()) buffer_.resize(2 * buffer_.size());
      const ssize_t count = ::recv(socket_, buffer_.data() + got, buffer_.size() - got, 0);
      if (count <= 0) return failed("the server closed the connection");
      got += static_cast<size_t>(count);
      const std::string_view text(buffer_.data(), got);
      if (whole > 0 || (head = text.find("\r\n\r\n")) == std::string_view::npos) continue;
      const std::optional<size_t> length = content_length(text.substr(0, head + 2));
      if (!length.has_value()) return failed("a reply without a length");
      whole = head + 4 + *length;
    }
    const std::string_view reply(buffer_.data(), got);
    if (reply.starts_with("HTTP/1.1 200")) return {};
    return failed(std::string(reply.substr(0, reply.find('\r'))) + " " +
                  std::string(reply.substr(head + 4, 200)));
  }

 private:
  /// Of a reply's head.
  static std::optional<size_t> content_length(std::string_view head) {
    constexpr std::string_view kName = "content-length: ";
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
    const auto found = std::ranges::search(head, kName, same);
    size_t length = 0;
    if (found.empty()) return std::nullopt;
    std::from_chars(&*found.begin() + kName.size(), head.data() + head.size(), length);
    return length;
  }

  int socket_;
  std::vector<char> buffer_ = std::vector<char>(4096);
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
