#include "serve/rest/json_reply.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
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
