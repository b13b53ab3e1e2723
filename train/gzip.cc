#include "train/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <string>

namespace nacre {
namespace {

// zlib counts in 32 bits.
constexpr size_t kMaxPiece = size_t{1} << 30;
// 15 bits of window, and gzip's wrapping only.
constexpr int kGzipWindow = 15 + 16;

}  // namespace

bool is_gzip(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

struct GzipReader::Stream {
  z_stream z{};
  std::span<const std::byte> input;
  bool ended = false;

  ~Stream() { inflateEnd(&z); }

  // Inflates until `out` is full or the stream ends; returns the number of bytes written.
  Result<size_t> inflate_into(std::span<std::byte> out) {
    size_t written = 0;
    while (written < out.size() && !ended) {
      const size_t in_piece = std::min(input.size(), kMaxPiece);
      const size_t out_piece = std::min(out.size() - written, kMaxPiece);
      // zlib's interface is not const-correct; it does not write to its input.
      z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));
      z.avail_in = static_cast<uInt>(in_piece);
      z.next_out = reinterpret_cast<Bytef*>(out.data() + written);
      z.avail_out = static_cast<uInt>(out_piece);
      const int code = inflate(&z, Z_NO_FLUSH);
      const size_t consumed = in_piece - z.avail_in;
      const size_t produced = out_piece - z.avail_out;
      input = input.subspan(consumed);
      written += produced;
      if (code == Z_STREAM_END) {
        ended = true;
      } else if (code == Z_MEM_ERROR) {
        return Status(StatusCode::kLimit, "out of memory while inflating gzip data");
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Status(StatusCode::kBadData,
                      std::string("damaged gzip data: ") + (z.msg != nullptr ? z.msg : "unusable stream"));
      } else if (consumed == 0 && produced == 0) {
        return Status(StatusCode::kBadData, "the gzip file ends early");
      }
    }
    return written;
  }
};

GzipReader::GzipReader(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
GzipReader::~GzipReader() = default;

Result<std::unique_ptr<GzipReader>> GzipReader::open(std::span<const std::byte> compressed) {
  auto stream = std::make_unique<Stream>();
  stream->input = compressed;
  if (inflateInit2(&stream->z, kGzipWindow) != Z_OK) {
    return Status(StatusCode::kLimit, "out of memory while opening gzip data");
  }
  return std::unique_ptr<GzipReader>(new GzipReader(std::move(stream)));
}

Status GzipReader::read(std::span<std::byte> out) {
  NACRE_ASSIGN_OR_RETURN(const size_t written, stream_->inflate_into(out));
  if (written == out.size()) return {};
  return {StatusCode::kBadData, "the data ends " + std::to_string(out.size() - written) + " bytes early"};
}

Status GzipReader::finish() {
  std::byte extra{};
  NACRE_ASSIGN_OR_RETURN(const size_t written, stream_->inflate_into({&extra, 1}));
  if (written != 0) return {StatusCode::kBadData, "trailing data inside the gzip stream"};
  if (!stream_->input.empty()) {
    return {StatusCode::kBadData,
            "trailing data: " + std::to_string(stream_->input.size()) + " bytes after the gzip stream"};
  }
  return {};
}

}  // namespace nacre
