// Colour PNGs for networks of one channel. The numbers are what TensorFlow 2.21 (libpng 1.6.39) decodes.
#include <gtest/gtest.h>

#include <string>

#include "image/decode.h"
#include "tests/image/image_bytes.h"

namespace nacre::test {
namespace {

using Chunks = std::vector<PngChunk>;

const std::vector<int> kColours8 = {255, 0, 0,   0,   255, 0,  0,  0,   255, 90,  90,  90,
                                    1,   2, 3,   200, 100, 50, 17, 240, 99,  254, 255, 253,
                                    128, 0, 129, 0,   1,   0,  33, 66,  200, 77,  76,  77};
const std::vector<int> kColours16 = {65535, 1777,  3554,  5331,  7107,  8885,  10662, 12439, 14215,
                                     23200, 23200, 23200, 21581, 23615, 25649, 12519, 54132, 43059,
                                     36355, 29907, 60983, 37059, 39093, 40356, 10008, 44425, 13819,
                                     47979, 50013, 51533, 61791, 6513,  42728, 12894, 14414, 16448};

Bytes big_endian(const std::vector<uint32_t>& numbers) {
  Bytes bytes;
  for (const uint32_t number : numbers) {
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<std::byte>(number >> shift & 0xFF));
  }
  return bytes;
}
PngChunk gama(uint32_t value) {
  return {"gAMA", big_endian({value})};
}
PngChunk srgb(int intent) {
  return {"sRGB", bytes_of({intent})};
}
PngChunk sbit(std::initializer_list<int> values) {
  return {"sBIT", bytes_of(values)};
}
/// White, red, green, blue.
PngChunk chrm(const std::vector<uint32_t>& points) {
  return {"cHRM", big_endian(points)};
}
const PngChunk kOrdinary = chrm({31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000});
const PngChunk kNoColours = chrm({0, 0, 0, 0, 0, 0, 0, 0});
PngChunk wrong_checksum(PngChunk chunk) {
  chunk.crc_flip = 1;
  return chunk;
}

/// The levels of grey of 12 colours of `bit_depth` bits, with `chunks` behind IHDR.
std::vector<int> grey_of(int bit_depth, const Chunks& chunks) {
  PngSpec spec{12, 1, bit_depth, 2, false, bit_depth == 8 ? kColours8 : kColours16, {}, {}};
  std::vector<PngChunk> all = split_png(make_png(spec));
  all.insert(all.begin() + 1, chunks.begin(), chunks.end());
  const Result<Image> image = decode_image(join_png(all), contract_for(1, 1, 1));
  EXPECT_TRUE(image.ok()) << image.status().message();
  return image.ok() ? std::vector<int>(image->pixels.begin(), image->pixels.end()) : std::vector<int>();
}

TEST(PngGrey, EightBits) {
  const std::pair<Chunks, std::vector<int>> cases[] = {
      {{}, {76, 149, 29, 90, 1, 124, 157, 254, 52, 0, 71, 76}},
      {{gama(100000)}, {76, 149, 29, 90, 1, 124, 157, 254, 52, 0, 71, 76}},
      {{gama(45455)}, {147, 200, 95, 90, 0, 137, 191, 255, 85, 0, 90, 76}},
      {{srgb(0)}, {147, 200, 95, 90, 0, 137, 191, 255, 85, 0, 90, 76}},
      {{gama(220000)}, {18, 79, 2, 90, 2, 119, 129, 255, 18, 0, 65, 76}},
      {{gama(95000)}, {76, 150, 29, 90, 2, 120, 155, 254, 51, 1, 67, 71}},
      {{gama(94999)}, {81, 154, 32, 90, 3, 125, 159, 254, 55, 1, 72, 76}},
      {{gama(105001)}, {72, 146, 26, 90, 2, 120, 153, 254, 49, 1, 67, 72}},
      {{sbit({5, 6, 5})}, {76, 149, 29, 90, 1, 124, 157, 254, 52, 0, 71, 76}},
  };
  for (const auto& [chunks, expected] : cases) EXPECT_EQ(grey_of(8, chunks), expected);
}

TEST(PngGrey, SixteenBits) {
  const std::vector<int> plain = {82, 26, 47, 90, 90, 157, 138, 150, 119, 193, 106, 55};
  const std::vector<int> srgb_grey = {147, 26, 47, 90, 90, 176, 144, 151, 138, 193, 150, 55};
  const std::vector<int> coarse = {147, 20, 46, 90, 90, 176, 144, 150, 138, 194, 150, 53};
  const std::pair<Chunks, std::vector<int>> cases[] = {
      {{}, plain},
      {{gama(100000)}, plain},
      {{sbit({5, 6, 5})}, plain},
      {{gama(45455)}, srgb_grey},
      {{srgb(1)}, srgb_grey},
      {{gama(220000)}, {42, 26, 47, 90, 90, 145, 136, 150, 107, 193, 80, 55}},
      {{gama(95000)}, {81, 23, 43, 90, 85, 155, 134, 146, 116, 190, 103, 51}},
      {{gama(105001)}, {77, 23, 43, 90, 86, 154, 133, 147, 115, 191, 101, 51}},
      {{sbit({8, 8, 8}), gama(45455)}, coarse},
      {{sbit({9, 10, 8}), gama(45455)}, {147, 26, 47, 90, 90, 176, 144, 150, 138, 193, 150, 55}},
      // No significant bits are known by these.
      {{sbit({0, 8, 8}), gama(45455)}, srgb_grey},
      {{sbit({8, 17, 8}), gama(45455)}, srgb_grey},
      {{sbit({8, 8, 8, 8}), gama(45455)}, srgb_grey},
      {{wrong_checksum(sbit({8, 8, 8})), gama(45455)}, srgb_grey},
      {{{"PLTE", bytes_of({1, 2, 3})}, sbit({8, 8, 8})}, plain},
      {{gama(45455), {"PLTE", bytes_of({1, 2, 3})}, sbit({8, 8, 8})}, srgb_grey},
      // The first one counts.
      {{sbit({8, 8, 8}), sbit({16, 16, 16}), gama(45455)}, coarse},
  };
  for (const auto& [chunks, expected] : cases) EXPECT_EQ(grey_of(16, chunks), expected);
}

// Which gamma the chunks give; 0 is none.
TEST(PngGrey, WhereGammaComesFrom) {
  const PngChunk far = chrm({34570, 35850, 64000, 33000, 21000, 71000, 15000, 6000});
  const std::pair<Chunks, uint32_t> cases[] = {
      {{gama(16)}, 16},
      {{gama(15)}, 0},
      {{gama(625000000)}, 625000000},
      {{gama(625000001)}, 0},
      {{gama(0x80000000U)}, 0},
      {{gama(50000), gama(60000)}, 50000},
      {{gama(50000), gama(60000), srgb(0)}, 50000},
      {{gama(0), gama(50000)}, 0},
      {{gama(0), srgb(0)}, 0},
      {{{"gAMA", bytes_of({0, 0})}, gama(50000)}, 50000},
      {{{"gAMA", bytes_of({0, 0, 195, 80, 0})}}, 0},
      {{wrong_checksum(gama(50000)), gama(60000)}, 60000},
      {{srgb(3)}, 45455},
      {{srgb(4)}, 0},
      {{srgb(4), gama(50000)}, 0},
      {{{"sRGB", bytes_of({0, 0})}, gama(50000)}, 50000},
      {{wrong_checksum(srgb(0)), gama(60000)}, 60000},
      {{gama(220000), srgb(0)}, 45455},
      {{srgb(0), gama(220000)}, 45455},
      {{gama(47000), srgb(0)}, 45455},
      {{srgb(0), gama(47000)}, 47000},
      {{srgb(0), gama(50000), gama(47000)}, 47000},
      {{srgb(0), srgb(0), gama(47000)}, 45455},
      {{{"PLTE", bytes_of({1, 2, 3})}, gama(50000)}, 0},
      {{{"PLTE", bytes_of({1, 2, 3})}, srgb(0)}, 0},
      {{kOrdinary, gama(50000)}, 50000},
      {{kNoColours, gama(50000)}, 0},
      {{kNoColours, srgb(0)}, 0},
      {{gama(50000), kNoColours}, 50000},
      {{gama(50000), kNoColours, srgb(0)}, 50000},
      {{wrong_checksum(kNoColours), gama(50000)}, 50000},
      {{{"cHRM", Bytes(31)}, gama(50000)}, 50000},
      {{kOrdinary, kOrdinary, gama(50000)}, 0},
      {{srgb(0), kOrdinary, gama(47000)}, 47000},
      {{srgb(0), far, gama(47000)}, 45455},
      {{gama(50000), far, srgb(0)}, 45455},
      {{far, gama(50000)}, 50000},
      // Numbers over 2^31 make no difference; impossible points do.
      {{chrm({0x80000000U, 0, 0, 0, 0, 0, 0, 0}), gama(50000)}, 50000},
      {{chrm({31270, 32900, 64000, 33000, 30000, 80000, 15000, 6000}), gama(50000)}, 0},
      {{chrm({31270, 4, 64000, 33000, 30000, 60000, 15000, 6000}), gama(50000)}, 0},
      {{chrm({31270, 32900, 30000, 60000, 30000, 60000, 15000, 6000}), gama(50000)}, 0},
      {{chrm({70000, 29000, 64000, 33000, 30000, 60000, 15000, 6000}), gama(50000)}, 0},
      {{chrm({31270, 32900, 31271, 32900, 31270, 32901, 31269, 32899}), gama(50000)}, 0},
      {{chrm({34567, 35850, 73469, 26531, 15960, 84040, 3660, 10}), gama(50000)}, 50000},
  };
  size_t i = 0;
  for (const auto& [chunks, known] : cases) {
    EXPECT_EQ(grey_of(8, chunks), grey_of(8, known == 0 ? Chunks{} : Chunks{gama(known)})) << "case " << i;
    ++i;
  }
}

TEST(PngGrey, ChunksAfterThePixelsDoNotCount) {
  std::vector<PngChunk> chunks = split_png(make_png({12, 1, 8, 2, false, kColours8, {}, {}}));
  const Result<Image> before = decode_image(join_png(chunks), contract_for(1, 1, 1));
  chunks.insert(chunks.end() - 1, gama(50000));
  const Result<Image> after = decode_image(join_png(chunks), contract_for(1, 1, 1));
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(before->pixels, after->pixels);
}

// A palette becomes colours of 8 bits first; alpha is dropped.
TEST(PngGrey, PalettesAndAlphaGiveTheGreyOfTheirColours) {
  for (const int bit_depth : {8, 16}) {
    for (const Chunks& chunks : {Chunks{}, Chunks{gama(45455)}, Chunks{srgb(0)}}) {
      PngSpec alpha{12, 1, bit_depth, 6, true, {}, {}, {}};
      const std::vector<int>& colours = bit_depth == 8 ? kColours8 : kColours16;
      for (size_t i = 0; i < colours.size(); ++i) {
        alpha.samples.push_back(colours[i]);
        if (i % 3 == 2) alpha.samples.push_back(static_cast<int>(i) * 7);
      }
      std::vector<PngSpec> specs{alpha};
      if (bit_depth == 8) {
        PngSpec palette{12, 1, 4, 3, false, {}, {}, bytes_of({3, 0, 255})};
        for (int i = 0; i < 12; ++i) palette.samples.push_back(i);
        for (const int level : colours) palette.palette.push_back(static_cast<std::byte>(level));
        specs.push_back(palette);
      }
      for (const PngSpec& spec : specs) {
        std::vector<PngChunk> all = split_png(make_png(spec));
        all.insert(all.begin() + 1, chunks.begin(), chunks.end());
        const Result<Image> image = decode_image(join_png(all), contract_for(1, 1, 1));
        ASSERT_TRUE(image.ok()) << image.status().message();
        EXPECT_EQ(std::vector<int>(image->pixels.begin(), image->pixels.end()), grey_of(bit_depth, chunks));
      }
    }
  }
}

// Grey images stay as they are, and gamma is nothing to three channels.
TEST(PngGrey, OthersAreLeftAlone) {
  for (const int channels : {1, 3}) {
    const PngSpec grey{3, 1, 16, 0, false, {256, 25700, 65535}, {}, {}};
    const PngSpec colour{1, 1, 8, 2, false, {9, 80, 200}, {}, {}};
    for (const PngSpec& spec : channels == 1 ? std::vector{grey} : std::vector{grey, colour}) {
      std::vector<PngChunk> chunks = split_png(make_png(spec));
      const Result<Image> plain = decode_image(join_png(chunks), contract_for(1, 1, channels));
      chunks.insert(chunks.begin() + 1, gama(45455));
      const Result<Image> with_gamma = decode_image(join_png(chunks), contract_for(1, 1, channels));
      ASSERT_TRUE(plain.ok() && with_gamma.ok());
      EXPECT_EQ(plain->pixels, with_gamma->pixels);
    }
  }
}

}  // namespace
}  // namespace nacre::test
