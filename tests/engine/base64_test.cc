#include "engine/base64.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace nacre {
namespace {

using testing::HasSubstr;

std::string decoded(std::string_view text) {
  const auto bytes = decode_base64(text);
  if (!bytes.ok()) return "error: " + bytes.status().message();
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

/// As the RFC's text has it, bit by bit.
std::string encoded(std::string_view bytes) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 6) {
    size_t value = 0;
    for (size_t i = bit; i < bit + 6; ++i) {
      const auto byte = i / 8 < bytes.size() ? static_cast<uint8_t>(bytes[i / 8]) : uint8_t{0};
      value = value * 2 + (byte >> (7 - i % 8) & 1U);
    }
    text += alphabet[value];
  }
  while (text.size() % 4 != 0) text += '=';
  return text;
}

TEST(Base64, TheExamplesOfTheRfc) {
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("Zm9vYg=="), "foob");
  EXPECT_EQ(decoded("Zm9vYmE="), "fooba");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
}

TEST(Base64, EveryLengthComesBack) {
  std::mt19937 random(3);
  for (size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    std::string text = encoded(bytes);
    ASSERT_EQ(encode_base64(std::as_bytes(std::span(bytes))), text);
    ASSERT_EQ(decoded(text), bytes);
    std::string broken = text;
    for (size_t i = 0; i < broken.size(); i += 9) broken.insert(i, "\r\n ");
    ASSERT_EQ(decoded(broken + "\n"), bytes);
    while (text.ends_with('=')) text.pop_back();
    ASSERT_EQ(decoded(text), bytes) << "without padding";
  }
}

TEST(Base64, WhatIsNoBase64IsRefused) {
  EXPECT_THAT(decoded("Zm9*"), HasSubstr("error: base64: unexpected character at position 3"));
  EXPECT_THAT(decoded("Zm-_"), HasSubstr("unexpected character at position 2"));
  EXPECT_THAT(decoded(std::string_view("Zm9\0", 4)), HasSubstr("position 3"));
  EXPECT_THAT(decoded("Zm9vY"), HasSubstr("stands alone"));
  EXPECT_THAT(decoded("Zg="), HasSubstr("too little padding"));
  EXPECT_THAT(decoded("Zg==="), HasSubstr("position 4"));
  EXPECT_THAT(decoded("Zg==Zg=="), HasSubstr("position 4"));
  EXPECT_THAT(decoded("===="), HasSubstr("position 0"));
  EXPECT_THAT(decoded("Zm9v="), HasSubstr("position 4"));
  EXPECT_THAT(decoded("Zh=="), HasSubstr("bits are left over"));
  EXPECT_THAT(decoded("Zm9="), HasSubstr("bits are left over"));
}

}  // namespace
}  // namespace nacre
