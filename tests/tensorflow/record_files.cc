#include "tests/tensorflow/record_files.h"

#include <gtest/gtest.h>

#include <cstring>
#include <span>

#include "serialize/tensorflow/crc32c.h"

namespace nacre {
namespace {

uint32_t masked(std::string_view bytes) {
  return mask_crc32c(crc32c(std::as_bytes(std::span(bytes.data(), bytes.size()))));
}

}  // namespace

std::vector<std::string> records_of(const std::string& bytes) {
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    uint32_t crc = 0;
    EXPECT_LE(at + 12, bytes.size());
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&crc, bytes.data() + at + 8, 4);
    EXPECT_EQ(crc, masked(std::string_view(bytes).substr(at, 8)));
    if (at + 16 + length > bytes.size()) {
      ADD_FAILURE() << "a record goes past the end";
      break;
    }
    records.push_back(bytes.substr(at + 12, length));
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    EXPECT_EQ(crc, masked(records.back()));
    at += 16 + length;
  }
  return records;
}

}  // namespace nacre
