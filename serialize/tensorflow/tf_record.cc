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

}  // namespace nacre
