#include "serialize/tensorflow/snappy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include <random>

#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

using testing::HasSubstr;

std::vector<std::string> samples() {
  std::vector<std::string> samples{"", "a", std::string(100000, 'x')};
  std::mt19937 random(1);
  for (size_t size = 1; size < 300000; size = size * 3 + 1) {
    for (const uint32_t letters : {2U, 20U, 256U}) {
      std::string text(size, '\0');
      for (char& c : text) c = static_cast<char>(random() % letters);
      samples.push_back(text);
      // Repeats from near and far.
      samples.push_back(text + std::string(70, 'r') + text + text.substr(text.size() / 2));
    }
  }
  return samples;
}

TEST(Snappy, UnfoldsWhatTheLibraryCompresses) {
  for (const std::string& sample : samples()) {
    std::string compressed;
    snappy::Compress(sample.data(), sample.size(), &compressed);
    const auto unfolded = snappy_decompress(compressed, sample.size());
    ASSERT_TRUE(unfolded.ok()) << unfolded.status().message();
    ASSERT_TRUE(*unfolded == sample) << sample.size();
    if (sample.empty()) continue;
    EXPECT_EQ(snappy_decompress(compressed, sample.size() - 1).status().code(), StatusCode::kLimit);
  }
}

TEST(Snappy, AgreesWithTheLibraryOnDamagedData) {
  std::mt19937 random(2);
  size_t refused = 0;
  for (const std::string& sample : samples()) {
    if (sample.size() > 2000) continue;
    std::string compressed;
    snappy::Compress(sample.data(), sample.size(), &compressed);
    for (size_t size = 0; size < compressed.size(); ++size) {
      EXPECT_EQ(snappy_decompress(compressed.substr(0, size), 1 << 20).status().code(), StatusCode::kCorrupt);
    }
    for (int i = 0; i < 200 && !compressed.empty(); ++i) {
      std::string damaged = compressed;
      damaged[random() % damaged.size()] = static_cast<char>(random());
      std::string theirs;
      size_t length = 0;
      // What says that it is huge is a matter of limits.
      if (snappy::GetUncompressedLength(damaged.data(), damaged.size(), &length) && length > (1U << 20))
        continue;
      const bool good = snappy::Uncompress(damaged.data(), damaged.size(), &theirs);
      const auto ours = snappy_decompress(damaged, 1 << 20);
      if (!ours.ok()) ++refused;
      // Varints that are longer than they must be are refused here alone.
      if (ours.ok()) {
        ASSERT_TRUE(good && *ours == theirs);
      } else if (good) {
        ASSERT_THAT(ours.status().message(), HasSubstr("bad length"));
      }
    }
  }
  EXPECT_GT(refused, 100U);
}

TEST(Snappy, WhatIsNoneIsRefused) {
  const auto refused = [](const std::string& compressed, const std::string& reason) {
    const auto unfolded = snappy_decompress(compressed, 100);
    EXPECT_EQ(unfolded.status().code(), StatusCode::kCorrupt) << reason;
    EXPECT_THAT(unfolded.status().message(), HasSubstr(reason));
  };
  refused("", "bad length");
  refused("\xff\xff\xff\xff\xff", "bad length");
  refused("\xff\xff\xff\xff\x7f", "bad length");
  refused(
      "\x02\x08"
      "abc",
      "longer than it says");
  refused(
      "\x03\x08"
      "ab",
      "cut off");
  refused(
      "\x04\x08"
      "abc",
      "shorter than it says");
  refused(
      "\x08\x04"
      "ab\x01\x03",
      "copies from before");
  refused(std::string("\x08\x04"
                      "ab\x01\0",
                      6),
          "copies from before");
  refused(
      "\x08\x04"
      "ab\x02\x01",
      "cut off");
  refused("\x08\xf0", "cut off");
  refused(std::string("\x08\x04"
                      "ab\xff\x01\0\0\0",
                      9),
          "longer than it says");
}

}  // namespace
}  // namespace nacre
