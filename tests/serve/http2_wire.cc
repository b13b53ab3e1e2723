#include "tests/serve/http2_wire.h"

#include <utility>

#include "serve/grpc/grpc_wire.h"

namespace nacre {
namespace {

constexpr size_t kHeadBytes = 9;

uint32_t number_of(std::string_view bytes) {
  uint32_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
  return number;
}

std::string bytes_of(uint32_t number, int count) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(number >> (8 * i));
  return bytes;
}

/// A length or text of HPACK: 7 bits of length at first.
std::string hpack_text(std::string_view text) {
  std::string out;
  size_t left = text.size();
  if (left < 127) {
    out += static_cast<char>(left);
  } else {
    out += static_cast<char>(127);
    for (left -= 127; left >= 128; left >>= 7) out += static_cast<char>(128 | (left & 127));
    out += static_cast<char>(left);
  }
  return out.append(text);
}

nghttp2_hd_inflater* new_inflater() {
  nghttp2_hd_inflater* raw = nullptr;
  nghttp2_hd_inflate_new(&raw);
  return raw;
}

}  // namespace

std::string Http2Wire::Reply::status() const {
  if (const auto code = headers.find("grpc-status"); code != headers.end()) {
    const auto message = headers.find("grpc-message");
    return code->second + (message == headers.end() ? "" : " " + message->second);
  }
  if (const auto code = headers.find(":status"); code != headers.end() && code->second != "200")
    return "http " + code->second;
  if (reset >= 0) return "reset " + std::to_string(reset);
  if (goaway >= 0) return "goaway " + std::to_string(goaway);
  return closed ? "closed" : "none";
}

Http2Wire::Http2Wire(uint16_t port, bool speaks, uint32_t window)
    : wire_(port), inflater_(new_inflater(), nghttp2_hd_inflate_del) {
  if (!speaks) return;
  send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  send_frame(NGHTTP2_SETTINGS, 0, 0, bytes_of(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2) + bytes_of(window, 4));
  send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, bytes_of(1U << 30, 4));
}

std::string Http2Wire::frame(int type, int flags, uint32_t stream, std::string_view payload) {
  std::string out = bytes_of(static_cast<uint32_t>(payload.size()), 3);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  return out.append(bytes_of(stream, 4)).append(payload);
}

bool Http2Wire::send_frame(int type, int flags, uint32_t stream, std::string_view payload) {
  return send(frame(type, flags, stream, payload));
}

std::string Http2Wire::encode(const Headers& headers) {
  std::string block;
  for (const auto& [name, value] : headers) {
    block += '\0';  // a literal that is not indexed, with a name of its own
    block += hpack_text(name) + hpack_text(value);
  }
  return block;
}

Http2Wire::Headers Http2Wire::call_headers(const Headers& more, const std::string& path) {
  Headers headers = {{":method", "POST"},    {":scheme", "http"}, {":path", path},
                     {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  for (const auto& [name, value] : more) {
    bool known = false;
    for (auto& [own, text] : headers) {
      if (own != name) continue;
      known = true;
      text = value;
    }
    if (!known) headers.emplace_back(name, value);
  }
  std::erase_if(headers, [](const auto& header) { return header.second == "(none)"; });
  return headers;
}

bool Http2Wire::send_headers(uint32_t stream, const Headers& more, bool ends, const std::string& path) {
  return send_frame(NGHTTP2_HEADERS,
                    NGHTTP2_FLAG_END_HEADERS | (ends ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE), stream,
                    encode(call_headers(more, path)));
}

std::string Http2Wire::prefixed(std::string_view message, char flag) {
  auto prefix = grpc_prefix(message.size());
  prefix[0] = flag;
  return std::string(prefix.begin(), prefix.end()).append(message);
}

bool Http2Wire::send_message(uint32_t stream, std::string_view message, bool ends) {
  constexpr size_t kMostBytes = 16384;
  const std::string bytes = prefixed(message);
  std::string frames;
  for (size_t at = 0; at < bytes.size(); at += kMostBytes) {
    const bool last = ends && at + kMostBytes >= bytes.size();
    frames += frame(NGHTTP2_DATA, last ? NGHTTP2_FLAG_END_STREAM : 0, stream,
                    std::string_view(bytes).substr(at, kMostBytes));
  }
  return send(frames);
}

Http2Wire::Frame Http2Wire::read_frame() {
  const std::string head = wire_.read(kHeadBytes);
  if (head.size() < kHeadBytes) return {};
  Frame out;
  out.type = static_cast<uint8_t>(head[3]);
  out.flags = static_cast<uint8_t>(head[4]);
  out.stream = number_of(std::string_view(head).substr(5));
  out.payload = wire_.read(number_of(std::string_view(head).substr(0, 3)));
  return out;
}

std::string Http2Wire::Frame::goaway() const {
  if (type != NGHTTP2_GOAWAY || payload.size() < 8) return {};
  const std::string_view bytes = payload;
  return std::to_string(number_of(bytes.substr(0, 4))) + " " + std::to_string(number_of(bytes.substr(4, 4)));
}

std::string Http2Wire::read_goaway() {
  Frame next = read_frame();
  while (next.type >= 0 && next.type != NGHTTP2_GOAWAY) next = read_frame();
  return next.goaway();
}

void Http2Wire::echo() {
  Frame next = read_frame();
  while (next.type >= 0 && next.type != NGHTTP2_PING) next = read_frame();
  EXPECT_EQ(next.type, NGHTTP2_PING);
  EXPECT_EQ(next.flags, 0);
  send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, next.payload);
}

void Http2Wire::wait_until_taken() {
  send_frame(NGHTTP2_PING, 0, 0, "taken in");
  Frame next = read_frame();
  while (next.type >= 0 && next.type != NGHTTP2_PING) next = read_frame();
}

void Http2Wire::decode(std::string_view block, std::map<std::string, std::string>& headers) {
  while (!block.empty()) {
    nghttp2_nv nv{};
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(
        inflater_.get(), &nv, &flags, reinterpret_cast<const uint8_t*>(block.data()), block.size(), 1);
    ASSERT_GE(used, 0);
    block.remove_prefix(static_cast<size_t>(used));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
      headers[std::string(reinterpret_cast<char*>(nv.name), nv.namelen)] =
          std::string(reinterpret_cast<char*>(nv.value), nv.valuelen);
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_.get());
}

Http2Wire::Reply Http2Wire::reply(uint32_t stream) {
  while (!replies_[stream].ended && !ended_.closed && ended_.goaway <= 0) take_frame();
  Reply reply = std::move(replies_[stream]);
  replies_.erase(stream);
  reply.closed = ended_.closed;
  reply.goaway = ended_.goaway;
  return reply;
}

std::string Http2Wire::ended() {
  return reply(0).status();  // which only the connection ends
}

void Http2Wire::take_frame() {
  const Frame next = read_frame();
  ended_.closed = next.type < 0;
  if (ended_.closed) return;
  if (next.type == NGHTTP2_GOAWAY) ended_.goaway = number_of(std::string_view(next.payload).substr(4, 4));
  if (next.type == NGHTTP2_SETTINGS && (next.flags & NGHTTP2_FLAG_ACK) == 0)
    send_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "");
  if (next.stream == 0) return;
  Reply& reply = replies_[next.stream];
  if (next.type == NGHTTP2_HEADERS) decode(next.payload, reply.headers);
  if (next.type == NGHTTP2_DATA) reply.body += next.payload;
  if (next.type == NGHTTP2_RST_STREAM && !reply.ended) reply.reset = number_of(next.payload);
  const bool has_flag = next.type == NGHTTP2_HEADERS || next.type == NGHTTP2_DATA;
  if (next.type == NGHTTP2_RST_STREAM || (has_flag && (next.flags & NGHTTP2_FLAG_END_STREAM) != 0))
    reply.ended = true;
}

Http2Wire::Reply Http2Wire::call(uint32_t stream, std::string_view message, const Headers& more,
                                 const std::string& path) {
  send_headers(stream, more, false, path);
  send_message(stream, message);
  return reply(stream);
}

}  // namespace nacre
