// What gRPC puts into HTTP/2, without a socket.
#include "serve/grpc/grpc_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <chrono>

namespace nacre {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(GrpcWire, Timeouts) {
  EXPECT_EQ(parse_grpc_timeout("3H"), 3h);
  EXPECT_EQ(parse_grpc_timeout("12M"), 12min);
  EXPECT_EQ(parse_grpc_timeout("7S"), 7s);
  EXPECT_EQ(parse_grpc_timeout("100m"), 100ms);
  EXPECT_EQ(parse_grpc_timeout("5u"), 5us);
  EXPECT_EQ(parse_grpc_timeout("00000000n"), 0ns);
  EXPECT_EQ(parse_grpc_timeout("99999999H"), std::chrono::nanoseconds::max());
  for (const char* none : {"", "S", "1", "1s", "-1S", "+1S", " 1S", "1.5S", "123456789S", "1 S", "1S "})
    EXPECT_EQ(parse_grpc_timeout(none), std::nullopt) << none;
}

TEST(GrpcWire, MessagesOfStatuses) {
  EXPECT_EQ(encode_grpc_message("plain text, 90~"), "plain text, 90~");
  EXPECT_EQ(encode_grpc_message("100 %\n\x7f\xc3\xa4"), "100 %25%0A%7F%C3%A4");
  EXPECT_EQ(encode_grpc_message(std::string(3000, 'x')).size(), 1024U);
  EXPECT_EQ(encode_grpc_message(std::string(3000, '%')).size(), 3 * 1024U);
  EXPECT_EQ(encode_grpc_message(std::string(1023, 'x') + "\xc3\xa4"), std::string(1023, 'x'))
      << "whole characters alone";
}

TEST(GrpcWire, ContentTypes) {
  for (const char* good : {"application/grpc", "application/grpc+proto", "application/grpc;charset=x"})
    EXPECT_TRUE(is_grpc_content_type(good)) << good;
  for (const char* bad : {"", "application/json", "application/grpc-web", "application/grp", "text/plain"})
    EXPECT_FALSE(is_grpc_content_type(bad)) << bad;
}

std::string framed(const std::string& message, char flag = 0) {
  const auto prefix = grpc_prefix(message.size());
  return flag + std::string(prefix.begin() + 1, prefix.end()) + message;
}

/// The messages of a call's bytes, which come in pieces of `step`.
std::vector<std::string> messages_of(const std::string& bytes, size_t step) {
  ByteBudget budget(1 << 20);
  GrpcMessageReader reader(100'000, budget);
  std::vector<std::string> messages;
  for (size_t at = 0; at < bytes.size(); at += step) {
    std::string_view piece = std::string_view(bytes).substr(at, step);
    while (!piece.empty()) {
      const auto taken = reader.take(piece);
      EXPECT_TRUE(taken.ok() && *taken > 0);
      if (!taken.ok() || *taken == 0) return messages;
      piece.remove_prefix(*taken);
      if (reader.is_whole()) messages.push_back(reader.next().bytes);
    }
  }
  EXPECT_TRUE(reader.is_between());
  EXPECT_EQ(budget.used(), 0U);
  return messages;
}

TEST(GrpcMessageReader, FindsMessagesHoweverTheirBytesCome) {
  const std::string large(70'000, 'y');
  const std::string bytes = framed("one") + framed("") + framed(large) + framed("last");
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{16384}, bytes.size()})
    EXPECT_EQ(messages_of(bytes, step), (std::vector<std::string>{"one", "", large, "last"})) << step;
}

TEST(GrpcMessageReader, RefusesWhatIsTooMuchAndWhatIsNone) {
  ByteBudget budget(999);
  const auto refusal = [&](const std::string& bytes) {
    return GrpcMessageReader(500, budget).take(bytes).status();
  };
  EXPECT_EQ(refusal(framed(std::string(501, 'x'))).code(), RpcCode::kResourceExhausted);
  EXPECT_EQ(refusal(framed(std::string(501, 'x')).substr(0, 5)).message(),
            "Received message larger than max (501 vs. 500)");
  EXPECT_EQ(refusal("\xff\xff\xff\xff\xff").code(), RpcCode::kInternal);
  EXPECT_EQ(refusal(framed("x", 2)).message(), "unknown compression flag 2");
  GrpcMessageReader other(500, budget);
  ASSERT_TRUE(other.take(framed(std::string(500, 'x'))).ok());
  GrpcMessageReader third(500, budget);
  EXPECT_TRUE(third.take(framed(std::string(500, 'x')).substr(0, 400)).ok());
  EXPECT_EQ(third.take(std::string(105, 'x')).status().code(), RpcCode::kUnavailable) << "of both together";
}

std::string compressed(const std::string& text, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// What a compressed message holds, or "CODE: reason".
std::string content_of(std::string bytes, GrpcEncoding encoding, size_t max_bytes = 1'000'000,
                       size_t budget_bytes = 10'000'000) {
  ByteBudget budget(budget_bytes);
  std::string storage;
  ByteBudget::Share share(budget, 0);
  GrpcMessage message;
  message.bytes = std::move(bytes);
  message.compressed = true;
  const auto content = grpc_content(message, encoding, max_bytes, storage, share);
  if (content.ok()) return std::string(*content);
  return std::string(rpc_code_name(content.status().code())) + ": " + content.status().message();
}

TEST(GrpcCompression, GzipAndDeflate) {
  constexpr int kGzip = MAX_WBITS + 16;
  const std::string text = "some text " + std::string(300'000, 'z');
  EXPECT_EQ(content_of(compressed(text, kGzip), GrpcEncoding::kGzip), text);
  EXPECT_EQ(content_of(compressed(text, MAX_WBITS), GrpcEncoding::kDeflate), text);
  EXPECT_EQ(content_of(compressed("", kGzip), GrpcEncoding::kGzip), "");
  const std::string exact(1000, 'x');
  EXPECT_EQ(content_of(compressed(exact, kGzip), GrpcEncoding::kGzip, 1000), exact);
  EXPECT_THAT(content_of(compressed(exact, kGzip), GrpcEncoding::kGzip, 999),
              HasSubstr("RESOURCE_EXHAUSTED: Received message larger than max"));
  std::string huge;
  huge.resize(50'000'000, 'x');
  EXPECT_THAT(content_of(compressed(huge, kGzip), GrpcEncoding::kGzip),
              HasSubstr("RESOURCE_EXHAUSTED: Received message larger than max"));
  EXPECT_THAT(content_of(compressed(text, kGzip), GrpcEncoding::kGzip, 1'000'000, 1000),
              HasSubstr("UNAVAILABLE"));
  EXPECT_THAT(content_of("no gzip", GrpcEncoding::kGzip), HasSubstr("INTERNAL"));
  EXPECT_THAT(content_of("", GrpcEncoding::kGzip), HasSubstr("INTERNAL"));
  const std::string whole = compressed(text, kGzip);
  EXPECT_THAT(content_of(whole.substr(0, whole.size() - 9), GrpcEncoding::kGzip), HasSubstr("INTERNAL"));
  EXPECT_THAT(content_of(whole + "more", GrpcEncoding::kGzip), HasSubstr("INTERNAL"));
  EXPECT_THAT(content_of(whole, GrpcEncoding::kIdentity), HasSubstr("INTERNAL"));
  EXPECT_THAT(content_of(whole, GrpcEncoding::kUnknown), HasSubstr("UNIMPLEMENTED"));
}

}  // namespace
}  // namespace nacre
