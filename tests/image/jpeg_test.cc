#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "image/decode.h"
#include "image/encode.h"
#include "tests/image/image_bytes.h"

namespace nacre::test {
namespace {

using ::testing::HasSubstr;

StatusCode code_of(const Bytes& encoded, int64_t channels = 3) {
  return decode_image(encoded, contract_for(1, 1, channels)).status().code();
}

std::string message_of(const Bytes& encoded) {
  return decode_image(encoded, contract_for(1, 1, 3)).status().message();
}

Bytes plain_jpeg() {
  return make_jpeg(gradient(24, 40, 3), {});
}

/// Where the last marker `code` is in bytes after the first SOS.
std::ptrdiff_t last_marker(const Bytes& rest, int code) {
  const Bytes marker = bytes_of({0xFF, code});
  return std::find_end(rest.begin(), rest.end(), marker.begin(), marker.end()) - rest.begin();
}

TEST(Jpeg, EqualsLibjpegForEveryKindAndMethod) {
  const Image colour = gradient(21, 37, 3);
  const Image grey = gradient(21, 37, 1);
  const std::vector<Bytes> files = {
      make_jpeg(colour, {}),
      make_jpeg(colour, {.quality = 50, .full_chroma = true}),
      make_jpeg(colour, {.progressive = true}),
      make_jpeg(colour, {.restart_interval = 2}),
      make_jpeg(colour, {.full_chroma = true, .separate_scans = true}),
      make_jpeg(grey, {}),
      make_jpeg(grey, {.progressive = true}),
  };
  for (size_t i = 0; i < files.size(); ++i) {
    for (const int channels : {1, 3}) {
      for (const JpegDct method : {JpegDct::kAccurate, JpegDct::kFast}) {
        InputContract contract = contract_for(21, 37, channels);
        contract.jpeg_dct = method;
        const Result<Image> image = decode_image(files[i], contract);
        ASSERT_TRUE(image.ok()) << i << ": " << image.status().message();
        EXPECT_EQ(image->height, 21);
        EXPECT_EQ(image->width, 37);
        EXPECT_EQ(image->channels, channels);
        EXPECT_EQ(image->pixels, decode_with_libjpeg(files[i], channels, method == JpegDct::kFast).pixels)
            << i;
      }
    }
  }
}

// Rows of all alignments, halved colours that end anywhere in a vector, and a last row of its own.
TEST(Jpeg, EqualsLibjpegForEverySize) {
  for (int height = 1; height <= 5; ++height) {
    for (int width = 1; width <= 70; ++width) {
      const Bytes file = make_jpeg(gradient(height, width, 3), {.full_chroma = width % 3 == 0});
      for (const int channels : {1, 3}) {
        const Result<Image> image = decode_image(file, contract_for(height, width, channels));
        ASSERT_TRUE(image.ok()) << image.status().message();
        EXPECT_EQ(image->pixels, decode_with_libjpeg(file, channels, false).pixels)
            << height << " x " << width << " x " << channels;
      }
    }
  }
}

TEST(Jpeg, TheTwoMethodsDiffer) {
  const Bytes jpeg = make_jpeg(gradient(48, 48, 3), {.quality = 95});
  InputContract contract = contract_for(48, 48, 3);
  const Result<Image> accurate = decode_image(jpeg, contract);
  contract.jpeg_dct = JpegDct::kFast;
  const Result<Image> fast = decode_image(jpeg, contract);
  ASSERT_TRUE(accurate.ok() && fast.ok());
  EXPECT_NE(accurate->pixels, fast->pixels);
}

TEST(Jpeg, OneChannelIsLuma) {
  Image red{8, 8, 3, {}};
  for (int i = 0; i < 64; ++i) red.pixels.insert(red.pixels.end(), {200, 0, 0});
  const Result<Image> grey = decode_image(make_jpeg(red, {.quality = 100}), contract_for(8, 8, 1));
  ASSERT_TRUE(grey.ok());
  EXPECT_NEAR(grey->pixels[0], 0.299 * 200, 1.5);
}

TEST(Jpeg, EncodedPicturesComeBack) {
  for (const int channels : {1, 3}) {
    Image smooth{64, 96, channels, {}};
    for (int64_t i = 0; i < 64 * 96; ++i) {
      for (int c = 0; c < channels; ++c) smooth.pixels.push_back(static_cast<uint8_t>(60 + i / 96 + i % 96));
    }
    const Result<Bytes> encoded = encode_jpeg(smooth, 95);
    ASSERT_TRUE(encoded.ok());
    const Result<Image> decoded = decode_image(*encoded, contract_for(64, 96, channels));
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    ASSERT_EQ(decoded->pixels.size(), smooth.pixels.size());
    for (size_t i = 0; i < smooth.pixels.size(); ++i) EXPECT_NEAR(decoded->pixels[i], smooth.pixels[i], 4);
  }
}

TEST(Jpeg, EncodingAPictureLargerThanTheFirstBufferWorks) {
  Image noise{300, 300, 3, {}};
  uint32_t state = 1;
  for (int i = 0; i < 300 * 300 * 3; ++i) {
    state = state * 1664525U + 1013904223U;
    noise.pixels.push_back(static_cast<uint8_t>(state >> 24));
  }
  const Result<Bytes> encoded = encode_jpeg(noise, 100);
  ASSERT_TRUE(encoded.ok());
  EXPECT_GT(encoded->size(), 100000U);
  EXPECT_TRUE(decode_image(*encoded, contract_for(300, 300, 3)).ok());
}

TEST(Jpeg, EncodingRefusesWhatIsNoImage) {
  Image image = gradient(4, 4, 3);
  image.pixels.pop_back();
  EXPECT_EQ(encode_jpeg(image, 90).status().code(), StatusCode::kBadData);
  EXPECT_EQ(encode_png(image).status().code(), StatusCode::kBadData);
  EXPECT_EQ(encode_jpeg(gradient(4, 4, 2), 90).status().code(), StatusCode::kBadData);
  EXPECT_EQ(encode_png(Image{}).status().code(), StatusCode::kBadData);
  EXPECT_EQ(encode_jpeg(Image{1, 65501, 1, std::vector<uint8_t>(65501)}, 90).status().code(),
            StatusCode::kLimit);
}

// Item 1.
TEST(Jpeg, MissingEndMarkerIsAnError) {
  for (const bool progressive : {false, true}) {
    Bytes jpeg = make_jpeg(gradient(24, 40, 3), {.progressive = progressive});
    jpeg.resize(jpeg.size() - 2);
    EXPECT_EQ(code_of(jpeg), StatusCode::kBadData);
    EXPECT_THAT(message_of(jpeg), HasSubstr("damaged JPEG"));
  }
}

TEST(Jpeg, BytesAfterTheEndMarkerAreIgnored) {
  EXPECT_EQ(code_of(concat({plain_jpeg(), bytes_of("junk \xFF\xD9 and more")})), StatusCode::kOk);
}

// Item 2.
TEST(Jpeg, EveryWrongSegmentLengthIsAnError) {
  const JpegParts intact = split_jpeg(plain_jpeg());
  for (size_t i = 0; i < intact.segments.size(); ++i) {
    for (const int error : {-1, 1, -5, 7, 40000}) {
      JpegParts parts = intact;
      parts.segments[i].length_error = error;
      EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kBadData)
          << "marker " << intact.segments[i].marker << " by " << error;
    }
    JpegParts parts = intact;
    parts.segments[i].length_error = -static_cast<int>(parts.segments[i].payload.size()) - 2;
    EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kBadData) << "length 0";
  }
}

// Item 3.
TEST(Jpeg, HuffmanTableWithMoreThan256CodesIsAnError) {
  for (const int count : {128, 255}) {
    JpegParts parts = split_jpeg(plain_jpeg());
    // Class and number, 16 counts, then as many values as the counts say.
    Bytes table = bytes_of({0});
    for (int i = 0; i < 16; ++i) table.push_back(static_cast<std::byte>(i < 13 ? 0 : count));
    table.resize(table.size() + 3 * static_cast<size_t>(count));
    find_segment(parts, 0xC4).payload = table;
    EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kBadData);
    EXPECT_THAT(message_of(join_jpeg(parts)), HasSubstr("Huffman table"));
  }
}

TEST(Jpeg, HuffmanTableWithMoreCodesThanTheirLengthAllowsIsAnError) {
  JpegParts parts = split_jpeg(plain_jpeg());
  Bytes table = bytes_of({0, 5});
  table.resize(17 + 5);
  find_segment(parts, 0xC4).payload = table;
  EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kBadData);
}

// Item 4.
TEST(Jpeg, ScanThatEndsEarlyIsAnError) {
  for (const bool progressive : {false, true}) {
    JpegParts parts = split_jpeg(make_jpeg(gradient(64, 64, 3), {.progressive = progressive}));
    ASSERT_GT(parts.rest.size(), 200U);
    for (const size_t missing : {size_t{3}, size_t{20}, parts.rest.size() / 4}) {
      JpegParts cut = parts;
      cut.rest.erase(cut.rest.end() - 2 - static_cast<ptrdiff_t>(missing), cut.rest.end() - 2);
      EXPECT_EQ(code_of(join_jpeg(cut)), StatusCode::kBadData) << progressive << ' ' << missing;
    }
  }
}

TEST(Jpeg, ComponentWithoutAScanIsAnError) {
  JpegParts parts = split_jpeg(make_jpeg(gradient(24, 24, 3), {.full_chroma = true, .separate_scans = true}));
  ASSERT_EQ(code_of(join_jpeg(parts)), StatusCode::kOk);
  parts.rest.erase(parts.rest.begin() + last_marker(parts.rest, 0xDA), parts.rest.end() - 2);
  EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kBadData);
  EXPECT_THAT(message_of(join_jpeg(parts)), HasSubstr("not every component has a scan"));
}

// Item 8, for JPEG.
TEST(Jpeg, DeclaredSizeOverTheLimitIsRefused) {
  JpegParts parts = split_jpeg(plain_jpeg());
  Bytes& frame = find_segment(parts, 0xC0).payload;
  for (size_t i = 1; i < 5; ++i) frame[i] = std::byte{0xFF};
  EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kLimit);
  for (size_t i = 1; i < 5; ++i) frame[i] = std::byte{0x41};  // 16705 x 16705
  EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kLimit);
  EXPECT_THAT(message_of(join_jpeg(parts)),
              HasSubstr("16705 x 16705 pixels, over the limit of 16384 a side"));
}

TEST(Jpeg, LimitsAreThoseOfTheCaller) {
  const Bytes jpeg = plain_jpeg();
  const InputContract contract = contract_for(24, 40, 3);
  EXPECT_TRUE(decode_image(jpeg, contract, {.max_side = 40, .max_pixels = 960}).ok());
  EXPECT_EQ(decode_image(jpeg, contract, {.max_side = 39}).status().code(), StatusCode::kLimit);
  EXPECT_EQ(decode_image(jpeg, contract, {.max_pixels = 959}).status().code(), StatusCode::kLimit);
  EXPECT_EQ(decode_image(jpeg, contract, {.max_encoded_bytes = jpeg.size() - 1}).status().code(),
            StatusCode::kLimit);
}

// Item 9.
TEST(Jpeg, BombOfManyScansIsRefused) {
  JpegParts parts = split_jpeg(make_jpeg(gradient(24, 24, 3), {.full_chroma = true, .separate_scans = true}));
  const Bytes scan(parts.rest.begin() + last_marker(parts.rest, 0xDA), parts.rest.end() - 2);
  const Bytes end(parts.rest.end() - 2, parts.rest.end());
  parts.rest.resize(parts.rest.size() - 2);
  for (int i = 0; i < 200; ++i) parts.rest = concat({parts.rest, scan});
  parts.rest = concat({parts.rest, end});
  EXPECT_EQ(code_of(join_jpeg(parts)), StatusCode::kLimit);
  EXPECT_THAT(message_of(join_jpeg(parts)), HasSubstr("scans"));
}

// Item 12.
TEST(Jpeg, CmykIsUnsupported) {
  for (const int64_t channels : {1, 3}) {
    EXPECT_EQ(code_of(make_jpeg(gradient(16, 16, 3), {.cmyk = true}), channels), StatusCode::kUnsupported);
    EXPECT_EQ(code_of(make_jpeg(gradient(16, 16, 3), {.ycck = true}), channels), StatusCode::kUnsupported);
  }
  EXPECT_THAT(message_of(make_jpeg(gradient(16, 16, 3), {.cmyk = true})), HasSubstr("is a CMYK JPEG"));
}

TEST(Jpeg, OtherKindsAreUnsupported) {
  EXPECT_EQ(code_of(make_jpeg(gradient(16, 16, 3), {.arithmetic = true})), StatusCode::kUnsupported);
  JpegParts lossless = split_jpeg(plain_jpeg());
  find_segment(lossless, 0xC0).marker = 0xC3;
  EXPECT_EQ(code_of(join_jpeg(lossless)), StatusCode::kUnsupported);
  JpegParts deep = split_jpeg(plain_jpeg());
  find_segment(deep, 0xC0).payload[0] = std::byte{12};
  EXPECT_EQ(code_of(join_jpeg(deep)), StatusCode::kUnsupported);
}

// Item 14.
TEST(Jpeg, ExifOrientationIsAppliedOnlyWhenAsked) {
  const Image original = gradient(16, 24, 3);
  const Bytes plain = make_jpeg(original, {.quality = 95, .full_chroma = true});
  const Image decoded = decode_with_libjpeg(plain, 3, false);
  // Where the pixel at (row 2, column 5) of 16 x 24 goes.
  struct Place {
    int64_t height, width, row, column;
  };
  const Place places[9] = {{},
                           {16, 24, 2, 5},
                           {16, 24, 2, 18},
                           {16, 24, 13, 18},
                           {16, 24, 13, 5},
                           {24, 16, 5, 2},
                           {24, 16, 5, 13},
                           {24, 16, 18, 13},
                           {24, 16, 18, 2}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      JpegParts parts = split_jpeg(plain);
      parts.segments.insert(parts.segments.begin(), exif_segment(orientation, big_endian));
      const Bytes jpeg = join_jpeg(parts);
      InputContract contract = contract_for(16, 24, 3);
      const Result<Image> ignored = decode_image(jpeg, contract);
      ASSERT_TRUE(ignored.ok()) << ignored.status().message();
      EXPECT_EQ(ignored->pixels, decoded.pixels);
      contract.exif = ExifPolicy::kApply;
      const Result<Image> applied = decode_image(jpeg, contract);
      ASSERT_TRUE(applied.ok());
      const Place& place = places[orientation];
      EXPECT_EQ(applied->height, place.height);
      EXPECT_EQ(applied->width, place.width);
      for (int64_t c = 0; c < 3; ++c) {
        EXPECT_EQ(applied->pixels[static_cast<size_t>((place.row * place.width + place.column) * 3 + c)],
                  decoded.pixels[static_cast<size_t>((2 * 24 + 5) * 3 + c)])
            << orientation;
      }
    }
  }
}

TEST(Jpeg, MalformedExifLeavesTheImageUpright) {
  const Bytes plain = plain_jpeg();
  const Image decoded = decode_with_libjpeg(plain, 3, false);
  InputContract contract = contract_for(24, 40, 3);
  contract.exif = ExifPolicy::kApply;
  const auto expect_upright = [&](const JpegSegment& exif) {
    JpegParts parts = split_jpeg(plain);
    parts.segments.insert(parts.segments.begin(), exif);
    const Result<Image> image = decode_image(join_jpeg(parts), contract);
    ASSERT_TRUE(image.ok()) << image.status().message();
    EXPECT_EQ(image->pixels, decoded.pixels);
  };
  for (const bool big_endian : {false, true}) {
    for (const int orientation : {0, 9, 255}) expect_upright(exif_segment(orientation, big_endian));
    const JpegSegment six = exif_segment(6, big_endian);
    // Cut before the entry is whole: "Exif\0\0", header 8, count 2, entry 12.
    for (size_t size = 0; size < 28; ++size) {
      JpegSegment cut = six;
      cut.payload.resize(size);
      expect_upright(cut);
    }
    JpegSegment far = six;
    for (size_t i = 10; i < 14; ++i) far.payload[i] = std::byte{0xFF};  // the directory's offset
    expect_upright(far);
  }
}

}  // namespace
}  // namespace nacre::test
