#include "serialize/tensorflow/deterministic_bytes.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

namespace nacre {
namespace {

/// Protobuf's own limit.
constexpr size_t kMaxMessageBytes = size_t{1} << 31;

}  // namespace

Result<std::string> deterministic_bytes(const google::protobuf::Message& message, const char* what) {
  const size_t size = message.ByteSizeLong();
  if (size >= kMaxMessageBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("{} would have {} bytes; the limit is {}", what, size, kMaxMessageBytes));
  }
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeWithCachedSizes(&coded);
  }
  return bytes;
}

}  // namespace nacre
