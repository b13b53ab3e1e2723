#include "bench/load/rest_target.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "bench/load/connect.h"

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
    NACRE_RETURN_IF_ERROR(send_all(socket_, request));
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
    NACRE_ASSIGN_OR_RETURN(const int socket, connect_to(host, port));
    auto connection = std::make_shared<HttpConnection>(socket);
    return Connection(
        [connection, requests](size_t i) { return connection->exchange((*requests)[i % requests->size()]); });
  };
}

}  // namespace nacre::load
