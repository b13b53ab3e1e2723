#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/serve/serve_fixture.h"

namespace nacre {

/// A client that puts frames of HTTP/2 together by hand, so that they may be wrong.
class Http2Wire {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  struct Frame {
    int type = -1;  ///< -1: the server has closed
    int flags = 0;
    uint32_t stream = 0;
    std::string payload;
    /// Of GOAWAY, the last stream and the error; else empty.
    [[nodiscard]] std::string goaway() const;
  };
  /// What came of a call.
  struct Reply {
    std::map<std::string, std::string> headers;  ///< trailers, too
    std::string body;
    bool ended = false;
    bool closed = false;  ///< the connection is
    int64_t reset = -1;   ///< the error of RST_STREAM
    int64_t goaway = -1;  ///< the error of GOAWAY, which ends the wait
    /// "0", "13 text" or, where there is none, "http 415", "reset 8", "goaway 1", "closed".
    [[nodiscard]] std::string status() const;
  };

  /// Connects; says the preface and SETTINGS, with a window of flow control for each reply (and a large one
  /// for all), unless it shall not.
  explicit Http2Wire(uint16_t port, bool speaks = true, uint32_t window = 1 << 22);

  Wire& wire() { return wire_; }
  bool send(std::string_view bytes) { return wire_.send(bytes); }
  bool send_frame(int type, int flags, uint32_t stream, std::string_view payload);
  /// A call's headers, with `more` behind those that every call has.
  bool send_headers(uint32_t stream, const Headers& more = {}, bool ends = false,
                    const std::string& path = "/test.Echo/Say");
  bool send_message(uint32_t stream, std::string_view message, bool ends = true);
  Frame read_frame();
  /// Waits for GOAWAY; what the server says meanwhile is lost.
  std::string read_goaway();
  /// Waits for PING, and answers it; what the server says meanwhile is lost.
  void echo();
  /// Waits until the server has taken in what was sent; what it says meanwhile
  /// is lost.
  void wait_until_taken();
  /// Waits for the end of a call, or of the connection. Acknowledges settings.
  Reply reply(uint32_t stream);
  /// Waits for the end of the connection, whatever becomes of its calls: "goaway 1" or "closed".
  std::string ended();
  /// A call with one message.
  Reply call(uint32_t stream, std::string_view message, const Headers& more = {},
             const std::string& path = "/test.Echo/Say");

  static std::string frame(int type, int flags, uint32_t stream, std::string_view payload);
  /// HPACK without tables or Huffman's code.
  static std::string encode(const Headers& headers);
  static Headers call_headers(const Headers& more, const std::string& path = "/test.Echo/Say");
  static std::string prefixed(std::string_view message, char flag = 0);

 private:
  void take_frame();
  void decode(std::string_view block, std::map<std::string, std::string>& headers);

  Wire wire_;
  std::map<uint32_t, Reply> replies_;  ///< by stream; what has come so far
  Reply ended_;                        ///< how the connection has
  std::unique_ptr<nghttp2_hd_inflater, void (*)(nghttp2_hd_inflater*)> inflater_;
};

}  // namespace nacre
