#include "image/peek.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "image/encode.h"

namespace nacre {
namespace {

using testing::HasSubstr;

Image flat(int64_t height, int64_t width, int64_t channels) {
  return {height, width, channels, std::vector<uint8_t>(static_cast<size_t>(height * width * channels), 99)};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

/// A JPEG with an EXIF orientation.
std::vector<std::byte> turned(std::vector<std::byte> jpeg, char orientation) {
  std::string exif(
      "\xff\xe1\0\x22"
      "Exif\0\0"
      "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
      30);
  exif += orientation;
  exif += std::string(5, '\0');
  const std::vector<std::byte> segment = bytes_of(exif);
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
  return jpeg;
}

TEST(Peek, SizesOfBothKinds) {
  for (const int64_t channels : {1, 3}) {
    const auto png = encode_png(flat(7, 300, channels));
    const auto jpeg = encode_jpeg(flat(70, 21, channels), 90);
    ASSERT_TRUE(png.ok() && jpeg.ok());
    EXPECT_EQ(peek_size(*png, ExifPolicy::kIgnore), (ImageSize{7, 300}));
    EXPECT_EQ(peek_size(*jpeg, ExifPolicy::kIgnore), (ImageSize{70, 21}));
    EXPECT_EQ(peek_size(*jpeg, ExifPolicy::kApply), (ImageSize{70, 21}));
  }
}

TEST(Peek, ExifSwapsTheSidesWhereItWillTurnTheImage) {
  const auto jpeg = encode_jpeg(flat(70, 21, 3), 90);
  ASSERT_TRUE(jpeg.ok());
  for (const char orientation : {'\x03', '\x06'}) {
    const auto file = turned(*jpeg, orientation);
    InputContract contract;
    contract.channels = 3;
    for (const ExifPolicy exif : {ExifPolicy::kIgnore, ExifPolicy::kApply}) {
      contract.exif = exif;
      const auto image = decode_image(file, contract);
      ASSERT_TRUE(image.ok()) << image.status().message();
      EXPECT_EQ(peek_size(file, exif), (ImageSize{image->height, image->width}));
    }
  }
}

TEST(Peek, WhateverTheBytesItEnds) {
  const auto png = encode_png(flat(7, 9, 3));
  const auto jpeg = encode_jpeg(flat(7, 9, 3), 90);
  ASSERT_TRUE(png.ok() && jpeg.ok());
  for (const auto& whole : {*png, turned(*jpeg, '\x06')}) {
    for (size_t length = 0; length < whole.size(); ++length) {
      const auto size = peek_size(std::span(whole).first(length), ExifPolicy::kIgnore);
      EXPECT_TRUE(!size.has_value() || *size == (ImageSize{7, 9})) << length;
    }
  }
  EXPECT_FALSE(
      peek_size(bytes_of("\xff\xd8\xff" + std::string(100, '\xff')), ExifPolicy::kApply).has_value());
  EXPECT_FALSE(
      peek_size(bytes_of("\xff\xd8\xff\xe0" + std::string(100, '\0')), ExifPolicy::kApply).has_value());
  EXPECT_FALSE(
      peek_size(bytes_of("\x89PNG\r\n\x1a\n" + std::string(100, '\xff')), ExifPolicy::kApply).has_value());
}

TEST(Peek, TypesAreTold) {
  EXPECT_TRUE(check_image_type(bytes_of("\xff\xd8\xff\xe0")).ok());
  EXPECT_TRUE(check_image_type(bytes_of("\x89PNG\r\n\x1a\n")).ok());
  EXPECT_THAT(check_image_type(bytes_of("GIF89a")).message(), HasSubstr("is a GIF, not a JPEG or PNG"));
  EXPECT_THAT(check_image_type({}).message(), HasSubstr("is empty"));
}

}  // namespace
}  // namespace nacre
