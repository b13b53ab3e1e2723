#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "serve/byte_budget.h"
#include "serve/rpc_status.h"

namespace nacre {

// What gRPC puts into HTTP/2: its PROTOCOL-HTTP2.md. Knows no socket and no frame.

/// Bytes before each message: whether it is compressed, and its length, the highest byte first.
inline constexpr size_t kGrpcPrefixBytes = 5;

/// Writes the prefix of a message that is not compressed; `length` is below 4 GiB.
std::array<char, kGrpcPrefixBytes> grpc_prefix(size_t length);

/// The header grpc-timeout: "100m" ...; nothing when it is none.
std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text);

/// A status' text as the header grpc-message has it: cut to 1024 bytes, and percent-encoded.
std::string encode_grpc_message(std::string_view text);

/// True for "application/grpc", also with a format behind it ("+proto") or parameters.
bool is_grpc_content_type(std::string_view text);

/// The header grpc-encoding.
enum class GrpcEncoding : uint8_t { kIdentity, kGzip, kDeflate, kUnknown };
GrpcEncoding parse_grpc_encoding(std::string_view text);
/// The header grpc-accept-encoding: those that are not unknown.
inline constexpr std::string_view kGrpcAcceptEncoding = "identity, deflate, gzip";

/// A message as it came.
struct GrpcMessage {
  std::string bytes;
  bool compressed = false;
  ByteBudget::Share share;  ///< counts `bytes`
};

/// Takes the messages out of a call's bytes.
class GrpcMessageReader {
 public:
  /// What messages take is counted in `budget`, and a message has at most `max_bytes`.
  GrpcMessageReader(size_t max_bytes, ByteBudget& budget) : max_bytes_(max_bytes), budget_(&budget) {}

  /// Takes bytes, at most up to the end of a message; returns how many. kResourceExhausted for a message
  /// that is too large, kInternal for what is none, kUnavailable when too many bytes are in hand.
  RpcResult<size_t> take(std::string_view bytes);
  /// A message is there: `next` takes it, before another is begun.
  [[nodiscard]] bool is_whole() const {
    return prefix_bytes_ == kGrpcPrefixBytes && message_.bytes.size() == length_;
  }
  /// Neither a message nor a part of one is there.
  [[nodiscard]] bool is_between() const { return prefix_bytes_ == 0; }
  GrpcMessage next();

 private:
  RpcStatus begin();

  size_t max_bytes_;
  ByteBudget* budget_;
  std::array<char, kGrpcPrefixBytes> prefix_{};
  size_t prefix_bytes_ = 0;
  size_t length_ = 0;
  GrpcMessage message_;
};

/// What a message holds, which is in `storage` when it came compressed, else borrowed; `share` counts
/// `storage`. kUnimplemented for an encoding that is not known, kInternal for bytes that are none of it,
/// kResourceExhausted for more than `max_bytes`, kUnavailable when too many bytes are in hand.
RpcResult<std::string_view> grpc_content(const GrpcMessage& message, GrpcEncoding encoding, size_t max_bytes,
                                         std::string& storage, ByteBudget::Share& share);

}  // namespace nacre
