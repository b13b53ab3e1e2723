// Damaged and hostile files of both types: nothing crashes, nothing large is allocated, the right error comes
// back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "image/decode.h"
#include "image/encode.h"
#include "tests/image/image_bytes.h"

namespace nacre::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

/// Mebibytes of address space: what the process holds now ("VmSize"), or the most it ever held ("VmPeak").
/// Memory counts even when it is never touched.
int64_t address_space(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field + ":", 0) != 0) continue;
    int64_t kibibytes = 0;
    std::istringstream(line.substr(field.size() + 1)) >> kibibytes;
    return kibibytes / 1024;
  }
  return -1;
}

/// Decodes, and checks that less than 64 MiB more than now were ever allocated on the way.
Status decode_in_little_memory(const Bytes& encoded) {
  const int64_t now = address_space("VmSize");
  const int64_t peak_before = address_space("VmPeak");
  EXPECT_GT(now, 0);
  const Status status = decode_image(encoded, contract_for(1, 1, 3)).status();
  EXPECT_LT(address_space("VmPeak"), std::max(peak_before + 1, now + 64));
  return status;
}

void set_size(PngChunk* header, uint32_t width, uint32_t height) {
  for (int i = 0; i < 4; ++i) {
    header->payload[static_cast<size_t>(i)] = static_cast<std::byte>(width >> (24 - 8 * i) & 0xFF);
    header->payload[static_cast<size_t>(4 + i)] = static_cast<std::byte>(height >> (24 - 8 * i) & 0xFF);
  }
}

Bytes png_of_declared_size(uint32_t width, uint32_t height) {
  std::vector<PngChunk> chunks = split_png(*encode_png(gradient(5, 7, 3)));
  set_size(&chunks[0], width, height);
  return join_png(chunks);
}

void expect_prefixes_fail(const Bytes& encoded) {
  for (size_t size = 0; size < encoded.size(); ++size) {
    // A copy of exactly this size, so that a sanitizer sees reads past the end.
    const Bytes prefix(encoded.begin(), encoded.begin() + static_cast<ptrdiff_t>(size));
    const Status status = decode_image(prefix, contract_for(1, 1, 3)).status();
    EXPECT_EQ(status.code(), StatusCode::kBadData)
        << size << " of " << encoded.size() << ": " << status.message();
    EXPECT_FALSE(status.message().empty());
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
}

void expect_flips_survive(const Bytes& encoded) {
  for (size_t i = 0; i < encoded.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0x55, 0xFF}) {
      Bytes flipped = encoded;
      flipped[i] ^= static_cast<std::byte>(mask);
      InputContract contract = contract_for(8, 8, i % 2 == 0 ? 3 : 1);
      contract.exif = ExifPolicy::kApply;
      const Result<Image> image = decode_image(flipped, contract);
      if (image.ok()) {
        EXPECT_EQ(image->pixels.size(), static_cast<size_t>(image->height * image->width * image->channels));
      } else {
        EXPECT_THAT(image.status().code(),
                    AnyOf(StatusCode::kBadData, StatusCode::kUnsupported, StatusCode::kLimit));
        EXPECT_FALSE(image.status().message().empty());
      }
    }
  }
}

TEST(Hostile, EveryPrefixOfAJpegIsAnError) {
  expect_prefixes_fail(*encode_jpeg(gradient(16, 16, 3), 60));
  expect_prefixes_fail(make_jpeg(gradient(16, 16, 3), {.quality = 60, .progressive = true}));
}

TEST(Hostile, EveryPrefixOfAPngIsAnError) {
  expect_prefixes_fail(*encode_png(gradient(6, 6, 3)));
  expect_prefixes_fail(
      make_png({2, 1, 8, 3, true, {0, 1}, bytes_of({1, 2, 3, 4, 5, 6}), bytes_of({0, 128})}));
}

TEST(Hostile, EveryFlippedByteOfAJpegIsSurvived) {
  JpegParts parts = split_jpeg(make_jpeg(gradient(16, 16, 3), {.quality = 60}));
  parts.segments.insert(parts.segments.begin(), exif_segment(6, true));
  expect_flips_survive(join_jpeg(parts));
  expect_flips_survive(make_jpeg(gradient(16, 16, 3), {.quality = 60, .progressive = true}));
}

TEST(Hostile, EveryFlippedByteOfAPngIsSurvived) {
  expect_flips_survive(*encode_png(gradient(6, 6, 3)));
}

// With the checksums made right again, damage goes past them.
void expect_flips_of_payloads_survive(std::vector<PngChunk> chunks, int64_t channels) {
  for (PngChunk& chunk : chunks) {
    for (std::byte& byte : chunk.payload) {
      for (const int mask : {0x01, 0x80, 0xFF}) {
        byte ^= static_cast<std::byte>(mask);
        InputContract contract = contract_for(9, 9, channels);
        contract.exif = ExifPolicy::kApply;
        const Result<Image> image = decode_image(join_png(chunks), contract);
        EXPECT_TRUE(image.ok() || !image.status().message().empty());
        byte ^= static_cast<std::byte>(mask);
      }
    }
  }
}

TEST(Hostile, EveryFlippedByteOfPngPayloadsIsSurvived) {
  const Bytes exif = exif_segment(6, false).payload;
  std::vector<PngChunk> chunks = split_png(
      make_png({9, 9, 4, 3, true, std::vector<int>(81, 2), Bytes(48, std::byte{9}), bytes_of({1, 2})}));
  chunks.insert(chunks.begin() + 1, {"eXIf", Bytes(exif.begin() + 6, exif.end())});
  expect_flips_of_payloads_survive(chunks, 3);
  expect_flips_of_payloads_survive(chunks, 1);
}

TEST(Hostile, EveryFlippedByteOfWhatAPngSaysOfItsColoursIsSurvived) {
  std::vector<PngChunk> chunks =
      split_png(make_png({2, 1, 16, 6, false, {9, 80, 700, 6000, 1, 2, 3, 4}, {}, {}}));
  const Bytes points = bytes_of({0, 0, 0x7A, 0x26, 0, 0, 0x80, 0x84, 0, 0, 0xFA, 0,    0, 0, 0x80, 0xE8,
                                 0, 0, 0x75, 0x30, 0, 0, 0xEA, 0x60, 0, 0, 0x3A, 0x98, 0, 0, 0x17, 0x70});
  const std::vector<PngChunk> more = {{"cHRM", points},
                                      {"sBIT", bytes_of({9, 9, 9, 9})},
                                      {"gAMA", bytes_of({0, 0, 0xB1, 0x8F})},
                                      {"sRGB", bytes_of({0})}};
  chunks.insert(chunks.begin() + 1, more.begin(), more.end());
  expect_flips_of_payloads_survive(chunks, 1);
}

// Item 8.
TEST(Hostile, HugeDeclaredSizeIsRefusedInLittleMemory) {
  const Status status = decode_in_little_memory(png_of_declared_size(1233092999U, 2337276672U));
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_THAT(status.message(), HasSubstr("declares 1233092999 x 2337276672 pixels"));
  EXPECT_EQ(decode_in_little_memory(png_of_declared_size(0xFFFFFFFFU, 0xFFFFFFFFU)).code(),
            StatusCode::kLimit);
  EXPECT_EQ(decode_in_little_memory(png_of_declared_size(16385, 1)).code(), StatusCode::kLimit);
  EXPECT_EQ(decode_in_little_memory(png_of_declared_size(16384, 4097)).code(), StatusCode::kLimit);
}

// Item 9.
TEST(Hostile, PngThatPromisesMorePixelsThanItHoldsCostsNoMemory) {
  EXPECT_EQ(decode_in_little_memory(png_of_declared_size(16384, 4096)).code(), StatusCode::kBadData);
}

TEST(Hostile, PngThatInflatesFarBeyondItsPixelsIsABomb) {
  std::vector<PngChunk> chunks = split_png(*encode_png(gradient(1, 1, 3)));
  find_chunk(chunks, "IDAT").payload = deflate_bytes(Bytes(size_t{8} << 20));
  const Status status = decode_in_little_memory(join_png(chunks));
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_THAT(status.message(), HasSubstr("inflates to far more than the 4 bytes"));
}

TEST(Hostile, BombInAnAncillaryChunkIsNeverInflated) {
  std::vector<PngChunk> chunks = split_png(*encode_png(gradient(1, 1, 3)));
  const Bytes bomb = deflate_bytes(Bytes(size_t{32} << 20));
  chunks.insert(chunks.begin() + 1, {"zTXt", concat({bytes_of({'k', 0, 0}), bomb})});
  chunks.insert(chunks.begin() + 1, {"iCCP", concat({bytes_of({'k', 0, 0}), bomb})});
  EXPECT_TRUE(decode_in_little_memory(join_png(chunks)).ok());
}

TEST(Hostile, ChunkLongerThanTheFileIsAnError) {
  Bytes png = *encode_png(gradient(5, 7, 3));
  for (const int first : {0x00, 0x7F, 0xFF}) {
    for (size_t i = 33; i < 37; ++i) png[i] = std::byte{0xFF};
    png[33] = static_cast<std::byte>(first);
    EXPECT_EQ(decode_in_little_memory(png).code(), StatusCode::kBadData);
  }
}

// Item 10.
TEST(Hostile, OtherFileTypesAreNamed) {
  const std::pair<Bytes, std::string> cases[] = {
      {bytes_of("GIF89a\1\1"), "is a GIF, not a JPEG or PNG"},
      {bytes_of("BM1234\0\0\0\0"), "is a BMP, not a JPEG or PNG"},
      {bytes_of("\n <!DOCTYPE HTML><p>404"), "is an HTML page, not a JPEG or PNG"},
      {bytes_of("\xEF\xBB\xBF<HTML>"), "is an HTML page, not a JPEG or PNG"},
      {bytes_of("RIFF....WEBPVP8 "), "is a WebP, not a JPEG or PNG"},
      {bytes_of({'I', 'I', '*', 0, 8, 0, 0, 0}), "is a TIFF, not a JPEG or PNG"},
      {bytes_of({'M', 'M', 0, '*', 0, 0, 0, 8}), "is a TIFF, not a JPEG or PNG"},
      {bytes_of("%PDF-1.7"), "is a PDF, not a JPEG or PNG"},
      {bytes_of({0x1F, 0x8B, 8, 0}), "is a gzip file, not a JPEG or PNG"},
      {bytes_of("<svg xmlns='x'>"), "is an SVG, not a JPEG or PNG"},
      {bytes_of("....ftypavif"), "is an AVIF, not a JPEG or PNG"},
      {bytes_of("face.jpg,anna,0\n"), "is a text file, not a JPEG or PNG"},
      {bytes_of({1, 2, 3, 4}), "is of an unknown type, not a JPEG or PNG"},
      {bytes_of({0xFF}), "is of an unknown type, not a JPEG or PNG"},
      {{}, "is empty, not a JPEG or PNG"},
  };
  for (const auto& [bytes, message] : cases) {
    const Status status = decode_image(bytes, contract_for(1, 1, 3)).status();
    EXPECT_EQ(status.code(), StatusCode::kBadData);
    EXPECT_EQ(status.message(), message);
  }
}

TEST(Hostile, ContractOfOtherChannelsIsRefused) {
  for (const int64_t channels : {0, 2, 4}) {
    const Status status = decode_image(*encode_png(gradient(2, 2, 3)), contract_for(2, 2, channels)).status();
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  }
}

}  // namespace
}  // namespace nacre::test
