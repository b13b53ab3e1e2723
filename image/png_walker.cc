#include "image/png_walker.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "image/limits.h"

namespace nacre {
namespace {

// stb_image holds the inflated stream in memory and counts its bytes with int.
constexpr int64_t kMaxInflatedBytes = int64_t{1} << 30;
// A stream that goes on for longer than this after the last pixel is called a bomb, a shorter one damaged.
constexpr int64_t kMaxExcessBytes = int64_t{1} << 20;

Status damaged(const std::string& reason) {
  return {StatusCode::kBadData, "damaged PNG: " + reason};
}

uint32_t read_u32(std::span<const std::byte> bytes, size_t i) {
  const auto at = [&](size_t k) { return std::to_integer<uint32_t>(bytes[i + k]); };
  return at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3);
}

constexpr int kHasColor = 2;
constexpr int kHasAlpha = 4;

bool valid_depth(int color_type, int depth) {
  switch (color_type) {
    case 0:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case PngHeader::kPalette:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

/// zlib's inflate, ended whatever happens.
class Inflater {
 public:
  Inflater() : ready_(inflateInit(&stream_) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  [[nodiscard]] bool ready() const { return ready_; }
  z_stream* operator->() { return &stream_; }
  z_stream* get() { return &stream_; }

 private:
  z_stream stream_{};
  bool ready_;
};

/// Inflates all of IDAT, keeping nothing, and checks its checksum and that it gives `promised` bytes.
Status check_image_data(const std::vector<std::span<const std::byte>>& image_data, int64_t promised) {
  Inflater inflater;
  if (!inflater.ready()) return {StatusCode::kLimit, "PNG: no memory to inflate it"};
  std::array<unsigned char, size_t{1} << 15> window{};
  int64_t inflated = 0;
  bool ended = false;
  for (const std::span<const std::byte> piece : image_data) {
    // zlib does not write to its input; older declarations lack the const.
    inflater->next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(piece.data()));
    inflater->avail_in = static_cast<uInt>(piece.size());
    bool window_was_full = false;
    while (inflater->avail_in > 0 || (window_was_full && !ended)) {
      if (ended) return damaged("bytes after the end of the compressed pixels");
      inflater->next_out = window.data();
      inflater->avail_out = static_cast<uInt>(window.size());
      const int code = inflate(inflater.get(), Z_NO_FLUSH);
      inflated += static_cast<int64_t>(window.size() - inflater->avail_out);
      window_was_full = inflater->avail_out == 0;
      ended = code == Z_STREAM_END;
      if (inflated > promised + kMaxExcessBytes) {
        return {StatusCode::kLimit, "PNG inflates to far more than the " + std::to_string(promised) +
                                        " bytes that its header promises"};
      }
      if (code == Z_BUF_ERROR) break;  // needs the next piece
      if (code != Z_OK && code != Z_STREAM_END) {
        const char* reason = inflater->msg;
        return damaged(std::string("compressed pixels: ") + (reason != nullptr ? reason : "bad stream"));
      }
    }
  }
  if (!ended) return damaged("the compressed pixels end early");
  if (inflated != promised) {
    return damaged("inflates to " + std::to_string(inflated) + " bytes where the header promises " +
                   std::to_string(promised));
  }
  return {};
}

class Walker {
 public:
  Walker(std::span<const std::byte> encoded, const ImageLimits& limits)
      : encoded_(encoded), limits_(limits) {}

  Result<PngParts> walk() {
    if (encoded_.size() < kPngSignature.size() ||
        std::memcmp(encoded_.data(), kPngSignature.data(), kPngSignature.size()) != 0) {
      return damaged("bad signature");
    }
    size_t position = kPngSignature.size();
    while (!ended_) {
      constexpr size_t kFrameBytes = 12;  // length, type, checksum
      constexpr size_t kMaxChunkBytes = std::numeric_limits<int32_t>::max();
      const size_t rest = encoded_.size() - position;
      if (rest < kFrameBytes) return damaged("ends without IEND");
      const size_t length = read_u32(encoded_, position);
      if (length > kMaxChunkBytes)
        return damaged("a chunk declares " + std::to_string(length) + " bytes, over 2^31 - 1");
      if (length > rest - kFrameBytes) {
        return damaged("a chunk declares " + std::to_string(length) + " bytes where " +
                       std::to_string(rest - kFrameBytes) + " are left");
      }
      const std::span<const std::byte> typed = encoded_.subspan(position + 4, length + 4);
      const bool intact = crc32(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(typed.data()),
                                static_cast<uInt>(typed.size())) == read_u32(encoded_, position + 8 + length);
      NACRE_RETURN_IF_ERROR(take_chunk(typed, intact));
      position += kFrameBytes + length;
    }
    NACRE_RETURN_IF_ERROR(check_image_data(parts_.image_data, parts_.header.inflated_size()));
    return std::move(parts_);
  }

 private:
  Status take_chunk(std::span<const std::byte> typed, bool intact) {
    const std::string_view type(reinterpret_cast<const char*>(typed.data()), 4);
    const std::span<const std::byte> payload = typed.subspan(4);
    const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    if (!std::all_of(type.begin(), type.end(), is_letter))
      return damaged("a chunk's type is not four letters");
    const bool critical = type[0] >= 'A' && type[0] <= 'Z';
    if (critical && !intact) return damaged("wrong checksum in " + std::string(type));
    if (type == "CgBI")
      return {StatusCode::kUnsupported, "is an Apple CgBI PNG; only standard PNG is supported"};
    if (!seen_header_ && type != "IHDR") return damaged("does not begin with IHDR");
    const bool after_data = !parts_.image_data.empty() && type != "IDAT";
    data_closed_ = data_closed_ || after_data;

    if (type == "IHDR") return take_header(payload);
    if (type == "PLTE") return take_palette(payload);
    if (type == "IDAT") {
      if (data_closed_) return damaged("IDAT chunks are not consecutive");
      if (parts_.header.color_type == PngHeader::kPalette && parts_.palette.empty()) {
        return damaged("no PLTE before the pixels of a palette image");
      }
      parts_.image_data.push_back(payload);
      return {};
    }
    if (type == "IEND") {
      if (!payload.empty()) return damaged("IEND is not empty");
      if (parts_.image_data.empty()) return damaged("no IDAT");
      ended_ = true;
      return {};
    }
    if (critical)
      return {StatusCode::kUnsupported, "is a PNG with the unknown critical chunk " + std::string(type)};
    if (!intact) return {};
    if (type == "eXIf" && parts_.exif.empty()) parts_.exif = payload;
    if (parts_.palette.empty() && parts_.image_data.empty()) {
      parts_.colour.take(type, payload, parts_.header.samples_per_pixel(), parts_.header.bit_depth);
    }
    return {};
  }

  Status take_header(std::span<const std::byte> payload) {
    constexpr size_t kHeaderBytes = 13;
    if (seen_header_) return damaged("two IHDR chunks");
    if (payload.size() != kHeaderBytes)
      return damaged("IHDR has " + std::to_string(payload.size()) + " bytes, not 13");
    const auto byte = [&](size_t i) { return std::to_integer<int>(payload[i]); };
    seen_header_ = true;
    PngHeader& header = parts_.header;
    header.width = read_u32(payload, 0);
    header.height = read_u32(payload, 4);
    header.bit_depth = byte(8);
    header.color_type = byte(9);
    header.interlaced = byte(12) != 0;
    NACRE_RETURN_IF_ERROR(check_declared_size(header.width, header.height, limits_));
    if (!valid_depth(header.color_type, header.bit_depth)) {
      return damaged("colour type " + std::to_string(header.color_type) + " with bit depth " +
                     std::to_string(header.bit_depth));
    }
    if (byte(10) != 0) return damaged("compression method " + std::to_string(byte(10)) + ", not 0");
    if (byte(11) != 0) return damaged("filter method " + std::to_string(byte(11)) + ", not 0");
    if (byte(12) > 1) return damaged("interlace method " + std::to_string(byte(12)) + ", neither 0 nor 1");
    if (header.inflated_size() > kMaxInflatedBytes) {
      return {StatusCode::kLimit, "PNG inflates to " + std::to_string(header.inflated_size()) +
                                      " bytes, over the limit of " + std::to_string(kMaxInflatedBytes)};
    }
    return {};
  }

  Status take_palette(std::span<const std::byte> payload) {
    const PngHeader& header = parts_.header;
    if (!parts_.palette.empty()) return damaged("two PLTE chunks");
    if (!parts_.image_data.empty()) return damaged("PLTE after IDAT");
    if (header.color_type == 0 || header.color_type == 4) return damaged("PLTE in a grey image");
    const size_t max_entries = header.color_type == PngHeader::kPalette ? size_t{1} << header.bit_depth : 256;
    if (payload.empty() || payload.size() % 3 != 0 || payload.size() / 3 > max_entries) {
      return damaged("PLTE has " + std::to_string(payload.size()) + " bytes, not three for each of 1 to " +
                     std::to_string(max_entries) + " entries");
    }
    parts_.palette = payload;
    return {};
  }

  std::span<const std::byte> encoded_;
  const ImageLimits& limits_;
  PngParts parts_;
  bool seen_header_ = false;
  bool data_closed_ = false;
  bool ended_ = false;
};

}  // namespace

bool PngHeader::is_grey() const {
  return (color_type & kHasColor) == 0;
}

int PngHeader::samples_per_pixel() const {
  if (color_type == kPalette) return 1;
  return (is_grey() ? 1 : 3) + ((color_type & kHasAlpha) != 0 ? 1 : 0);
}

int64_t PngHeader::inflated_size() const {
  const int64_t bits_per_pixel = int64_t{samples_per_pixel()} * bit_depth;
  const auto pass_size = [&](int64_t columns, int64_t rows) {
    return columns == 0 ? 0 : rows * (1 + (columns * bits_per_pixel + 7) / 8);
  };
  if (!interlaced) return pass_size(width, height);
  // Adam7: where each pass begins and how far its pixels are apart (PNG specification, section 8.2).
  struct Pass {
    int64_t x, y, step_x, step_y;
  };
  constexpr std::array<Pass, 7> kPasses = {
      {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
  int64_t total = 0;
  for (const Pass& pass : kPasses) {
    total += pass_size((width - pass.x + pass.step_x - 1) / pass.step_x,
                       (height - pass.y + pass.step_y - 1) / pass.step_y);
  }
  return total;
}

Result<PngParts> walk_png(std::span<const std::byte> encoded, const ImageLimits& limits) {
  return Walker(encoded, limits).walk();
}

}  // namespace nacre
