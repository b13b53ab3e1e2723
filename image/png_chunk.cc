#include "image/png_chunk.h"

#include <zlib.h>

#include <cstdint>

namespace nacre {
namespace {

void append_u32(std::vector<std::byte>* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<std::byte>(value >> shift & 0xFF));
}

}  // namespace

void append_png_chunk(std::vector<std::byte>* out, std::string_view type,
                      std::span<const std::byte> payload) {
  append_u32(out, static_cast<uint32_t>(payload.size()));
  const size_t begin = out->size();
  for (const char c : type) out->push_back(static_cast<std::byte>(c));
  out->insert(out->end(), payload.begin(), payload.end());
  const auto* typed = reinterpret_cast<const Bytef*>(out->data() + begin);
  append_u32(
      out, static_cast<uint32_t>(crc32(crc32(0, nullptr, 0), typed, static_cast<uInt>(out->size() - begin))));
}

}  // namespace nacre
