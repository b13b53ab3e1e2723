#include "serve/rest/json_reply.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace nacre {
namespace {

std::string of(float value) {
  std::string text;
  append_json(text, value);
  return text;
}

std::string of(std::string_view text) {
  std::string out;
  append_json(out, text);
  return out;
}

TEST(JsonNumbers, AreWrittenAsTensorflowServingDoes) {
  EXPECT_EQ(of(0.0F), "0.0");
  EXPECT_EQ(of(-0.0F), "-0.0");
  EXPECT_EQ(of(1.0F), "1.0");
  EXPECT_EQ(of(0.25F), "0.25");
  EXPECT_EQ(of(0.1F), "0.1");
  EXPECT_EQ(of(1.0F / 3), "0.333333343");
  EXPECT_EQ(of(1e-5F), "1e-05");
  EXPECT_EQ(of(1e20F), "1e+20");
  EXPECT_EQ(of(123456.0F), "123456.0");
  EXPECT_EQ(of(16777216.0F), "16777216.0");
  EXPECT_EQ(of(std::numeric_limits<float>::quiet_NaN()), "NaN");
  EXPECT_EQ(of(std::numeric_limits<float>::infinity()), "Infinity");
  EXPECT_EQ(of(-std::numeric_limits<float>::infinity()), "-Infinity");
}

TEST(JsonNumbers, ReadBackToTheBit) {
  uint32_t bits = 12345;
  for (int i = 0; i < 20000; ++i) {
    bits = bits * 1664525 + 1013904223;
    const float value = std::bit_cast<float>(bits & 0x7EFFFFFFU);  // no NaN, no infinity
    const std::string text = of(value);
    float again = 0;
    std::from_chars(text.data(), text.data() + text.size(), again);
    ASSERT_EQ(std::bit_cast<uint32_t>(again), std::bit_cast<uint32_t>(value)) << text;
  }
}

TEST(JsonNumbers, HaveSixDigitsWhereTheseSayAllAndElseNine) {
  const auto printed = [](float value, int digits) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.*g", digits, static_cast<double>(value));
    return std::string(text.data());
  };
  uint32_t bits = 54321;
  for (int i = 0; i < 20000; ++i) {
    bits = bits * 1664525 + 1013904223;
    float value = std::bit_cast<float>(bits & 0xFEFFFFFFU);
    if (i % 2 == 0) value = std::strtof(printed(value, 1 + i % 7).c_str(), nullptr);
    std::string expected = printed(value, 6);
    if (std::strtof(expected.c_str(), nullptr) != value) expected = printed(value, 9);
    if (expected.find_first_of(".e") == std::string::npos) expected += ".0";
    ASSERT_EQ(of(value), expected);
  }
}

TEST(JsonStrings, AreEscapedAndUtf8) {
  EXPECT_EQ(of("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(of(std::string_view("\n\t\0\x7F", 4)), R"("\n\u0009\u0000\u007f")");
  EXPECT_EQ(of("caf\xC3\xA9 \xF0\x9F\x90\x9A"), "\"caf\xC3\xA9 \xF0\x9F\x90\x9A\"");
  EXPECT_EQ(of("\xC3"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(of("\xFFx\xE2\x82"), "\"\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(JsonErrors, AreObjects) {
  EXPECT_EQ(error_json("no \"x\""), "{\n    \"error\": \"no \\\"x\\\"\"\n}\n");
}

}  // namespace
}  // namespace nacre
