#include "serialize/tensorflow/tf_record.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

uint32_t checksum(std::string_view bytes) {
  return mask_crc32c(crc32c(std::as_bytes(std::span(bytes))));
}

}  // namespace

void append_tf_record(std::string& file, std::string_view data) {
  std::string length;
  put_fixed(length, static_cast<uint64_t>(data.size()));
  file += length;
  put_fixed(file, checksum(length));
  file += data;
  put_fixed(file, checksum(data));
}

std::optional<std::string_view> take_tf_record(std::string_view& file) {
  constexpr size_t kLength = sizeof(uint64_t);
  constexpr size_t kChecksum = sizeof(uint32_t);
  if (file.size() < kLength + 2 * kChecksum) return std::nullopt;
  const auto length = get_fixed<uint64_t>(file);
  if (get_fixed<uint32_t>(file.substr(kLength)) != checksum(file.substr(0, kLength))) return std::nullopt;
  if (length > file.size() - kLength - 2 * kChecksum) return std::nullopt;
  const std::string_view data = file.substr(kLength + kChecksum, length);
  if (get_fixed<uint32_t>(file.substr(kLength + kChecksum + length)) != checksum(data)) return std::nullopt;
  file.remove_prefix(kLength + length + 2 * kChecksum);
  return data;
}

}  // namespace nacre
