#include "serialize/tensorflow/record.h"

#include <cstdint>
#include <cstring>
#include <span>

#include "serialize/tensorflow/crc32c.h"

namespace nacre {
namespace {

/// Little-endian, as is every machine that nacre runs on.
template <typename T>
void append_integer(T value, std::string& to) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  to.append(bytes, sizeof value);
}

void append_checksum(std::string_view data, std::string& to) {
  append_integer(mask_crc32c(crc32c(std::as_bytes(std::span(data.data(), data.size())))), to);
}

}  // namespace

void append_record(std::string_view data, std::string& records) {
  std::string length;
  append_integer(static_cast<uint64_t>(data.size()), length);
  records += length;
  append_checksum(length, records);
  records += data;
  append_checksum(data, records);
}

}  // namespace nacre
