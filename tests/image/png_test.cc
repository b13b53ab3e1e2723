#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "image/decode.h"
#include "image/encode.h"
#include "tests/image/image_bytes.h"

namespace nacre::test {
namespace {

using ::testing::HasSubstr;

StatusCode code_of(const Bytes& encoded) {
  return decode_image(encoded, contract_for(1, 1, 3)).status().code();
}

std::string message_of(const Bytes& encoded) {
  return decode_image(encoded, contract_for(1, 1, 3)).status().message();
}

Bytes plain_png() {
  return *encode_png(gradient(5, 7, 3));
}

std::vector<PngChunk> plain_chunks() {
  return split_png(plain_png());
}

/// A whole PNG with another compressed stream or other header bytes.
Bytes with_idat(const Bytes& payload) {
  std::vector<PngChunk> chunks = plain_chunks();
  find_chunk(chunks, "IDAT").payload = payload;
  return join_png(chunks);
}
Bytes with_header_byte(size_t i, int value) {
  std::vector<PngChunk> chunks = plain_chunks();
  find_chunk(chunks, "IHDR").payload[i] = static_cast<std::byte>(value);
  return join_png(chunks);
}
Bytes plain_idat() {
  std::vector<PngChunk> chunks = plain_chunks();
  return find_chunk(chunks, "IDAT").payload;
}

void expect_pixels(const PngSpec& spec, int64_t channels, const std::vector<uint8_t>& expected) {
  const Result<Image> image = decode_image(make_png(spec), contract_for(1, 1, channels));
  ASSERT_TRUE(image.ok()) << "type " << spec.color_type << " depth " << spec.bit_depth << ": "
                          << image.status().message();
  EXPECT_EQ(image->height, spec.height);
  EXPECT_EQ(image->width, spec.width);
  EXPECT_EQ(image->channels, channels);
  EXPECT_EQ(image->pixels, expected) << "type " << spec.color_type << " depth " << spec.bit_depth
                                     << " interlaced " << spec.interlaced << " channels " << channels;
}

TEST(Png, EncodedPicturesComeBackExactly) {
  for (const int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair{1, 1}, {5, 7}, {64, 33}}) {
      const Image image = gradient(height, width, channels);
      const Result<Bytes> png = encode_png(image);
      ASSERT_TRUE(png.ok());
      const Result<Image> decoded = decode_image(*png, contract_for(1, 1, channels));
      ASSERT_TRUE(decoded.ok()) << decoded.status().message();
      EXPECT_EQ(decoded->pixels, image.pixels);
    }
  }
}

// Item 13: every colour type and depth, interlaced or not. 16 bits keep the high byte, alpha is dropped.
TEST(Png, EveryKindGivesTheExpectedPixels) {
  struct Kind {
    int color_type, samples;
    std::vector<int> depths;
  };
  const Kind kinds[] = {{0, 1, {1, 2, 4, 8, 16}}, {2, 3, {8, 16}}, {4, 2, {8, 16}}, {6, 4, {8, 16}}};
  for (const Kind& kind : kinds) {
    for (const int depth : kind.depths) {
      for (const bool interlaced : {false, true}) {
        for (const auto& [width, height] : {std::pair{1, 1}, {3, 2}, {13, 11}, {17, 9}}) {
          PngSpec spec{width, height, depth, kind.color_type, interlaced, {}, {}, {}};
          std::vector<uint8_t> rgb;
          std::vector<uint8_t> grey;
          uint32_t state = 7;
          for (int i = 0; i < width * height; ++i) {
            std::vector<int> levels;
            for (int s = 0; s < kind.samples; ++s) {
              state = state * 1664525U + 1013904223U;
              const int sample = static_cast<int>((state >> 8) % (1U << depth));
              spec.samples.push_back(sample);
              levels.push_back(depth == 16 ? sample >> 8 : sample * 255 / ((1 << depth) - 1));
            }
            if (kind.samples <= 2) levels = {levels[0], levels[0], levels[0]};
            for (size_t c = 0; c < 3; ++c) rgb.push_back(static_cast<uint8_t>(levels[c]));
            if (kind.samples <= 2) grey.push_back(static_cast<uint8_t>(levels[0]));
          }
          expect_pixels(spec, 3, rgb);
          if (kind.samples <= 2) expect_pixels(spec, 1, grey);
        }
      }
    }
  }
}

TEST(Png, ColourBecomesGreyByLuma) {
  PngSpec spec{4, 1, 8, 2, false, {255, 0, 0, 0, 255, 0, 0, 0, 255, 90, 90, 90}, {}, {}};
  expect_pixels(spec, 1, {76, 149, 29, 90});
  spec = {4, 1, 8, 3, false, {0, 1, 2, 3}, bytes_of({255, 0, 0, 0, 255, 0, 0, 0, 255, 90, 90, 90}), {}};
  expect_pixels(spec, 1, {76, 149, 29, 90});
}

TEST(Png, PaletteOfEveryDepth) {
  for (const int depth : {1, 2, 4, 8}) {
    for (const bool interlaced : {false, true}) {
      PngSpec spec{11, 5, depth, 3, interlaced, {}, {}, {}};
      const int entries = depth == 8 ? 200 : 1 << depth;
      for (int i = 0; i < entries; ++i) {
        spec.palette = concat({spec.palette, bytes_of({(i * 3) % 256, 255 - i, (i * 77) % 256})});
      }
      std::vector<uint8_t> expected;
      for (int i = 0; i < 55; ++i) {
        const int index = i * 5 % entries;
        spec.samples.push_back(index);
        for (size_t c = 0; c < 3; ++c) {
          expected.push_back(std::to_integer<uint8_t>(spec.palette[static_cast<size_t>(index) * 3 + c]));
        }
      }
      expect_pixels(spec, 3, expected);
    }
  }
}

TEST(Png, TransparencyIsDropped) {
  PngSpec palette{2, 1, 8, 3, false, {1, 0}, bytes_of({10, 20, 30, 40, 50, 60}), bytes_of({0, 128})};
  expect_pixels(palette, 3, {40, 50, 60, 10, 20, 30});
  PngSpec grey{2, 1, 8, 0, false, {5, 6}, {}, bytes_of({0, 5})};
  expect_pixels(grey, 3, {5, 5, 5, 6, 6, 6});
  PngSpec colour{1, 1, 16, 2, false, {256, 512, 768}, {}, bytes_of({1, 0, 2, 0, 3, 0})};
  expect_pixels(colour, 3, {1, 2, 3});
  PngSpec rgba{1, 1, 8, 6, false, {9, 8, 7, 0}, {}, {}};
  expect_pixels(rgba, 3, {9, 8, 7});
}

TEST(Png, PaletteIndexPastTheEndIsAnError) {
  const PngSpec spec{3, 1, 8, 3, false, {0, 1, 2}, bytes_of({1, 2, 3, 4, 5, 6}), {}};
  EXPECT_EQ(code_of(make_png(spec)), StatusCode::kBadData);
  EXPECT_THAT(message_of(make_png(spec)), HasSubstr("palette index 2 where the palette has 2 entries"));
}

TEST(Png, BadPaletteIsAnError) {
  const PngSpec spec{2, 1, 1, 3, false, {0, 1}, bytes_of({1, 2, 3, 4, 5, 6}), {}};
  ASSERT_EQ(code_of(make_png(spec)), StatusCode::kOk);
  for (const size_t size : {0U, 1U, 4U, 9U}) {  // none, no triple, no triple, more than 1 bit can index
    std::vector<PngChunk> chunks = split_png(make_png(spec));
    find_chunk(chunks, "PLTE").payload.resize(size);
    EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << size;
  }
  std::vector<PngChunk> chunks = split_png(make_png(spec));
  std::swap(chunks[1], chunks[2]);
  EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << "PLTE after IDAT";
  chunks = split_png(make_png(spec));
  chunks.insert(chunks.begin() + 1, chunks[1]);
  EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << "two PLTE";
  chunks = split_png(*encode_png(gradient(2, 2, 1)));
  chunks.insert(chunks.begin() + 1, {"PLTE", bytes_of({1, 2, 3})});
  EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << "grey with PLTE";
}

// Item 5.
TEST(Png, WrongChecksumMattersInCriticalChunksOnly) {
  for (const char* type : {"IHDR", "IDAT", "IEND"}) {
    std::vector<PngChunk> chunks = plain_chunks();
    find_chunk(chunks, type).crc_flip = 1;
    EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << type;
    EXPECT_THAT(message_of(join_png(chunks)), HasSubstr(std::string("wrong checksum in ") + type));
  }
  for (const char* type : {"tEXt", "gAMA", "tRNS", "eXIf", "acTL"}) {
    std::vector<PngChunk> chunks = plain_chunks();
    chunks.insert(chunks.begin() + 1, {type, bytes_of("rubbish"), 1});
    EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kOk) << type;
  }
}

// Item 6.
TEST(Png, WrongAdler32IsAnError) {
  Bytes idat = plain_idat();
  idat.back() ^= std::byte{1};
  EXPECT_EQ(code_of(with_idat(idat)), StatusCode::kBadData);
  EXPECT_THAT(message_of(with_idat(idat)), HasSubstr("incorrect data check"));
}

TEST(Png, MissingEndChunkIsAnError) {
  std::vector<PngChunk> chunks = plain_chunks();
  chunks.pop_back();
  EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData);
  EXPECT_THAT(message_of(join_png(chunks)), HasSubstr("IEND"));
}

TEST(Png, BytesAfterTheEndChunkAreIgnored) {
  EXPECT_EQ(code_of(concat({plain_png(), bytes_of("junk")})), StatusCode::kOk);
}

TEST(Png, TheCompressedStreamHoldsExactlyThePixels) {
  const Bytes idat = plain_idat();
  EXPECT_EQ(code_of(with_idat({})), StatusCode::kBadData);
  EXPECT_EQ(code_of(with_idat(Bytes(idat.begin(), idat.end() - 1))), StatusCode::kBadData);
  EXPECT_EQ(code_of(with_idat(concat({idat, bytes_of({0})}))), StatusCode::kBadData);
  const size_t promised = 5 * (1 + 7 * 3);
  EXPECT_EQ(code_of(with_idat(deflate_bytes(Bytes(promised)))), StatusCode::kOk);
  EXPECT_EQ(code_of(with_idat(deflate_bytes(Bytes(promised - 1)))), StatusCode::kBadData);
  EXPECT_EQ(code_of(with_idat(deflate_bytes(Bytes(promised + 1)))), StatusCode::kBadData);
  EXPECT_THAT(message_of(with_idat(deflate_bytes(Bytes(promised + 1)))),
              HasSubstr("inflates to 111 bytes where the header promises 110"));
  EXPECT_EQ(code_of(with_idat(deflate_bytes(Bytes(promised, std::byte{5})))), StatusCode::kBadData)
      << "filter 5";
}

TEST(Png, PixelsMayBeSplitOverManyChunks) {
  std::vector<PngChunk> chunks = plain_chunks();
  const Bytes idat = chunks[1].payload;
  chunks.erase(chunks.begin() + 1);
  for (size_t i = 0; i < idat.size(); ++i) {
    chunks.insert(chunks.end() - 1, {"IDAT", Bytes{idat[i]}});
    chunks.insert(chunks.end() - 1, {"IDAT", {}});
  }
  const Result<Image> image = decode_image(join_png(chunks), contract_for(1, 1, 3));
  ASSERT_TRUE(image.ok()) << image.status().message();
  EXPECT_EQ(image->pixels, gradient(5, 7, 3).pixels);
}

TEST(Png, ChunkOrderIsChecked) {
  const std::vector<PngChunk> intact = plain_chunks();
  const PngChunk text{"tEXt", bytes_of("a")};
  const auto expect = [](StatusCode code, const std::vector<PngChunk>& chunks, const char* what) {
    EXPECT_EQ(code_of(join_png(chunks)), code) << what;
  };
  expect(StatusCode::kBadData, {text, intact[0], intact[1], intact[2]}, "something before IHDR");
  expect(StatusCode::kBadData, {intact[0], intact[0], intact[1], intact[2]}, "two IHDR");
  expect(StatusCode::kBadData, {intact[1], intact[2]}, "no IHDR");
  expect(StatusCode::kBadData, {intact[0], intact[2]}, "no IDAT");
  expect(StatusCode::kBadData, {intact[0], intact[1], text, {"IDAT", {}}, intact[2]}, "IDAT in two places");
  expect(StatusCode::kBadData, {intact[0], intact[1], {"IEND", bytes_of("a")}}, "IEND with bytes");
  expect(StatusCode::kBadData, {intact[0], {"ab1c", {}}, intact[1], intact[2]}, "type with a digit");
  expect(StatusCode::kUnsupported, {intact[0], {"ABCD", {}}, intact[1], intact[2]}, "unknown critical chunk");
  expect(StatusCode::kOk, {intact[0], text, intact[1], text, intact[2]}, "text around the pixels");
}

TEST(Png, HeaderIsChecked) {
  EXPECT_EQ(code_of(with_header_byte(3, 0)), StatusCode::kBadData) << "width 0";
  EXPECT_EQ(code_of(with_header_byte(7, 0)), StatusCode::kBadData) << "height 0";
  for (const int depth : {0, 1, 3, 4, 32})
    EXPECT_EQ(code_of(with_header_byte(8, depth)), StatusCode::kBadData) << depth;
  for (const int type : {1, 5, 7, 255})
    EXPECT_EQ(code_of(with_header_byte(9, type)), StatusCode::kBadData) << type;
  EXPECT_EQ(code_of(with_header_byte(10, 1)), StatusCode::kBadData) << "compression method";
  EXPECT_EQ(code_of(with_header_byte(11, 64)), StatusCode::kBadData) << "filter method";
  EXPECT_EQ(code_of(with_header_byte(12, 2)), StatusCode::kBadData) << "interlace method";
  for (const size_t size : {0U, 12U, 14U}) {
    std::vector<PngChunk> chunks = plain_chunks();
    chunks[0].payload.resize(size);
    EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kBadData) << size;
  }
  Bytes png = plain_png();
  png[4] = std::byte{'\n'};  // what a text-mode transfer makes of the signature
  EXPECT_EQ(code_of(png), StatusCode::kBadData);
  EXPECT_THAT(message_of(png), HasSubstr("bad signature"));
}

// Item 7.
TEST(Png, AppleCgBIIsUnsupported) {
  std::vector<PngChunk> chunks = plain_chunks();
  chunks.insert(chunks.begin(), {"CgBI", bytes_of({0x50, 0, 0x20, 2})});
  EXPECT_EQ(code_of(join_png(chunks)), StatusCode::kUnsupported);
  EXPECT_THAT(message_of(join_png(chunks)), HasSubstr("CgBI"));
}

// Item 14, for PNG.
TEST(Png, ExifOrientationIsAppliedOnlyWhenAsked) {
  const Image original = gradient(5, 7, 3);
  const Bytes exif = exif_segment(3, true).payload;
  std::vector<PngChunk> chunks = plain_chunks();
  chunks.insert(chunks.begin() + 1, {"eXIf", Bytes(exif.begin() + 6, exif.end())});
  InputContract contract = contract_for(5, 7, 3);
  const Result<Image> ignored = decode_image(join_png(chunks), contract);
  ASSERT_TRUE(ignored.ok());
  EXPECT_EQ(ignored->pixels, original.pixels);
  contract.exif = ExifPolicy::kApply;
  const Result<Image> applied = decode_image(join_png(chunks), contract);
  ASSERT_TRUE(applied.ok());
  for (size_t i = 0; i < 35; ++i) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(applied->pixels[i * 3 + c], original.pixels[(34 - i) * 3 + c]);
  }
}

}  // namespace
}  // namespace nacre::test
