#include "serve/grpc/grpc_wire.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

namespace nacre {
namespace {

using std::chrono::nanoseconds;

/// What a message is given room for at first, whatever length it declares.
constexpr size_t kFirstBytes = size_t{64} << 10;

RpcStatus too_large(size_t bytes, size_t max_bytes) {
  return {RpcCode::kResourceExhausted,
          fmt::format("Received message larger than max ({} vs. {})", bytes, max_bytes)};
}

/// Of a unit of grpc-timeout; zero when it is none.
nanoseconds unit_of(char unit) {
  switch (unit) {
    case 'H':
      return std::chrono::hours(1);
    case 'M':
      return std::chrono::minutes(1);
    case 'S':
      return std::chrono::seconds(1);
    case 'm':
      return std::chrono::milliseconds(1);
    case 'u':
      return std::chrono::microseconds(1);
    case 'n':
      return nanoseconds(1);
    default:
      return nanoseconds(0);
  }
}

/// zlib's state, of gzip's or zlib's form, which it finds out itself.
class Inflater {
 public:
  Inflater() {
    constexpr int kEitherForm = 32;
    good_ = inflateInit2(&stream_, MAX_WBITS + kEitherForm) == Z_OK;
  }
  ~Inflater() {
    if (good_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  [[nodiscard]] bool good() const { return good_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool good_ = false;
};

/// Inflates all of `compressed`; see grpc_content.
RpcStatus inflate_message(std::string_view compressed, size_t max_bytes, std::string& content,
                          ByteBudget::Share& share) {
  Inflater inflater;
  if (!inflater.good()) return rpc_out_of_memory();
  z_stream& stream = inflater.stream();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));  // NOLINT: read only
  stream.avail_in = static_cast<uInt>(compressed.size());
  int result = Z_OK;
  while (result == Z_OK) {
    const size_t done = content.size();
    if (done > max_bytes) return too_large(done, max_bytes);
    // One byte more than may be tells whether there is more.
    const size_t room = std::min(std::max(done, kFirstBytes), max_bytes + 1 - done);
    if (!share.grow(room)) return budget_is_used_up();
    content.resize(done + room);
    stream.next_out = reinterpret_cast<Bytef*>(content.data() + done);
    stream.avail_out = static_cast<uInt>(room);
    result = inflate(&stream, Z_NO_FLUSH);
    content.resize(done + room - stream.avail_out);
  }
  if (content.size() > max_bytes) return too_large(content.size(), max_bytes);
  if (result == Z_MEM_ERROR) return rpc_out_of_memory();
  if (result == Z_STREAM_END && stream.avail_in == 0) return {};
  return {RpcCode::kInternal, "a compressed message is damaged"};
}

}  // namespace

std::array<char, kGrpcPrefixBytes> grpc_prefix(size_t length) {
  std::array<char, kGrpcPrefixBytes> prefix{};
  for (size_t i = 1; i < kGrpcPrefixBytes; ++i)
    prefix[i] = static_cast<char>(length >> (8 * (kGrpcPrefixBytes - 1 - i)));
  return prefix;
}

std::optional<nanoseconds> parse_grpc_timeout(std::string_view text) {
  constexpr size_t kMaxDigits = 8;
  if (text.size() < 2 || text.size() > kMaxDigits + 1) return std::nullopt;
  const nanoseconds unit = unit_of(text.back());
  if (unit == nanoseconds(0)) return std::nullopt;
  int64_t count = 0;
  for (const char digit : text.substr(0, text.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    count = 10 * count + (digit - '0');
  }
  // 99999999 hours are beyond what nanoseconds can say.
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  return nanoseconds(count > kMax / unit.count() ? kMax : count * unit.count());
}

std::string encode_grpc_message(std::string_view text) {
  constexpr size_t kMaxMessage = 1024;
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  size_t size = std::min(text.size(), kMaxMessage);
  // Not within a character of UTF-8, whose bytes behind the first begin with the bits 10.
  if (size < text.size())
    while (size > 0 && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  for (const char c : text.substr(0, size)) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte <= 0x7E && c != '%') {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

bool is_grpc_content_type(std::string_view text) {
  constexpr std::string_view kType = "application/grpc";
  if (!text.starts_with(kType)) return false;
  return text.size() == kType.size() || text[kType.size()] == '+' || text[kType.size()] == ';';
}

GrpcEncoding parse_grpc_encoding(std::string_view text) {
  if (text.empty() || text == "identity") return GrpcEncoding::kIdentity;
  if (text == "gzip") return GrpcEncoding::kGzip;
  return text == "deflate" ? GrpcEncoding::kDeflate : GrpcEncoding::kUnknown;
}

RpcResult<size_t> GrpcMessageReader::take(std::string_view bytes) {
  size_t taken = 0;
  if (prefix_bytes_ < kGrpcPrefixBytes) {
    taken = std::min(bytes.size(), kGrpcPrefixBytes - prefix_bytes_);
    std::copy_n(bytes.begin(), taken, prefix_.begin() + static_cast<std::ptrdiff_t>(prefix_bytes_));
    prefix_bytes_ += taken;
    if (prefix_bytes_ < kGrpcPrefixBytes) return taken;
    if (RpcStatus begun = begin(); !begun.ok()) return begun;
    bytes.remove_prefix(taken);
  }
  std::string& message = message_.bytes;
  const size_t count = std::min(bytes.size(), length_ - message.size());
  const size_t size = message.size() + count;
  if (!message_.share.grow(count)) return budget_is_used_up();
  if (size > message.capacity()) message.reserve(std::min(length_, std::max(2 * message.capacity(), size)));
  message.append(bytes.substr(0, count));
  return taken + count;
}

RpcStatus GrpcMessageReader::begin() {
  length_ = 0;
  for (size_t i = 1; i < kGrpcPrefixBytes; ++i) length_ = length_ << 8 | static_cast<uint8_t>(prefix_[i]);
  if (prefix_[0] != 0 && prefix_[0] != 1)
    return {RpcCode::kInternal, fmt::format("unknown compression flag {}", static_cast<uint8_t>(prefix_[0]))};
  if (length_ > max_bytes_) return too_large(length_, max_bytes_);
  message_.compressed = prefix_[0] == 1;
  message_.share = ByteBudget::Share(*budget_, 0);
  message_.bytes.reserve(std::min(length_, kFirstBytes));
  return {};
}

GrpcMessage GrpcMessageReader::next() {
  prefix_bytes_ = 0;
  return std::exchange(message_, {});
}

RpcResult<std::string_view> grpc_content(const GrpcMessage& message, GrpcEncoding encoding, size_t max_bytes,
                                         std::string& storage, ByteBudget::Share& share) {
  if (!message.compressed) return std::string_view(message.bytes);
  if (encoding == GrpcEncoding::kIdentity)
    return RpcStatus(RpcCode::kInternal, "a compressed message without grpc-encoding");
  if (encoding == GrpcEncoding::kUnknown)
    return RpcStatus(RpcCode::kUnimplemented, "grpc-encoding is not supported");
  if (RpcStatus inflated = inflate_message(message.bytes, max_bytes, storage, share); !inflated.ok())
    return inflated;
  return std::string_view(storage);
}

}  // namespace nacre
