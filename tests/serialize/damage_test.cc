// What a damaged or foreign file gives: every bit, every length (items 18 to 21 of the list of hostile
// inputs).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <ostream>

#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "test_files.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

struct Kind {
  const char* name;
  ContainerFormat format;
  std::function<Status(const std::string&)> write_sample;
  std::function<Status(std::span<const std::byte>, LoadDepth)> parse;
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

template <typename Parse>
Status parse_with(Parse parse, std::span<const std::byte> bytes, LoadDepth depth) {
  const FileBytes file = aligned(bytes);
  ReadOptions options;
  options.depth = depth;
  return parse(file.bytes, file.keep_alive, options).status();
}

class DamageTest : public testing::TestWithParam<Kind> {
 protected:
  DamageTest() {
    const TempFolder folder;
    const Status status = GetParam().write_sample(folder.file("x"));
    EXPECT_TRUE(status.ok()) << status.message();
    file_ = read_bytes(folder.file("x"));
  }
  [[nodiscard]] static Status load(std::span<const std::byte> bytes) {
    return GetParam().parse(bytes, LoadDepth::kLoad);
  }
  [[nodiscard]] static Status verify(std::span<const std::byte> bytes) {
    return GetParam().parse(bytes, LoadDepth::kVerify);
  }
  std::vector<std::byte> file_;
};

TEST_P(DamageTest, TheSampleItselfIsWhole) {
  EXPECT_TRUE(load(file_).ok()) << load(file_).message();
  EXPECT_TRUE(verify(file_).ok()) << verify(file_).message();
}

TEST_P(DamageTest, EveryFlippedBitIsFound) {
  const size_t digest_at = file_.size() - 32;
  for (size_t i = 0; i < file_.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      file_[i] ^= std::byte{1} << bit;
      const Status verified = verify(file_);
      ASSERT_EQ(verified.code(), StatusCode::kCorrupt)
          << "byte " << i << " bit " << bit << ": " << verified.message();
      const Status loaded = load(file_);
      ASSERT_EQ(loaded.code(), i < digest_at ? StatusCode::kCorrupt : StatusCode::kOk)
          << "byte " << i << " bit " << bit << ": " << loaded.message();
      file_[i] ^= std::byte{1} << bit;
    }
  }
}

TEST_P(DamageTest, EveryTruncationIsFound) {
  for (size_t size = 0; size < file_.size(); ++size) {
    const Status status = load(std::span(file_).first(size));
    ASSERT_EQ(status.code(), StatusCode::kCorrupt) << size;
    ASSERT_THAT(status.message(), size == 0 ? HasSubstr("is empty") : HasSubstr("is cut off")) << size;
  }
}

TEST_P(DamageTest, TrailingBytesAreFound) {
  for (const size_t more : {1, 64, 1000}) {
    auto longer = file_;
    longer.resize(file_.size() + more);
    const Status status = load(longer);
    EXPECT_EQ(status.code(), StatusCode::kCorrupt);
    EXPECT_THAT(status.message(), HasSubstr(std::to_string(more) + " bytes after its end"));
  }
}

TEST_P(DamageTest, AHeaderThatLiesIsFoundAlthoughItsChecksumIsRight) {
  for (size_t i = 0; i < 56; ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto lying = file_;
      lying[i] ^= std::byte{1} << bit;
      repair_header(lying);
      const bool is_minor_version = i == 10 || i == 11;
      // A size of the metadata that is wrong by less than the padding changes nothing that is read.
      const bool is_within_padding = i == 24 && bit < 6;
      if (is_within_padding) continue;
      ASSERT_EQ(load(lying).ok(), is_minor_version) << "byte " << i << " bit " << bit;
    }
  }
}

TEST_P(DamageTest, MetadataOverTheLimitIsRefusedBeforeItIsRead) {
  const uint64_t size = kMaxMetadataBytes + 1;
  std::memcpy(file_.data() + 24, &size, sizeof(size));
  repair_header(file_);
  EXPECT_EQ(load(file_).code(), StatusCode::kLimit);
}

TEST_P(DamageTest, AnotherKindOfFileIsNamed) {
  const std::string ours = std::string("not a nacre ") + GetParam().name;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xff\xd8\xff\xe0 and so on", "is a JPEG image, "},
      {"\x89PNG\r\n\x1a\n....", "is a PNG image, "},
      {"GIF89a", "is a GIF image, "},
      {"<!DOCTYPE html>", "is HTML or XML text, "},
      {"{\"a\": 1}", "is JSON text, "},
      {"hello", "is text, "},
      {std::string("\x01\x02\x03\x04", 4), "is of an unknown kind, "}};
  for (const auto& [content, phrase] : cases) {
    const Status status = load(bytes_of(content));
    EXPECT_EQ(status.code(), StatusCode::kCorrupt);
    EXPECT_THAT(status.message(), HasSubstr(phrase + ours));
  }
}

TEST_P(DamageTest, ANewerMajorVersionIsRefusedNamingBoth) {
  file_[8] = std::byte{2};
  file_[10] = std::byte{7};
  repair_header(file_);
  const Status status = load(file_);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr("version 2.7"));
  EXPECT_THAT(status.message(), HasSubstr("version 1." + std::to_string(GetParam().format.minor)));
}

TEST_P(DamageTest, MetadataOfRandomBytesIsRefused) {
  // The checksums are right, so that the FlatBuffer's own checks are what stands.
  const size_t size = 512;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::vector<std::byte> metadata(file_.begin() + 64, file_.begin() + 64 + static_cast<long>(size));
    uint32_t state = seed * 2654435761U;
    for (int change = 0; change < 4; ++change) {
      state = state * 1664525U + 1013904223U;
      metadata[(state >> 8) % size] = static_cast<std::byte>(state >> 24);
    }
    const Status status = load(make_container(GetParam().format, metadata));
    // The blobs are not there, so no change can make it whole.
    ASSERT_FALSE(status.ok()) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DamageTest,
                         testing::Values(Kind{"checkpoint", kCheckpointFormat,
                                              [](const std::string& path) {
                                                return write_checkpoint(path, sample_checkpoint(), false);
                                              },
                                              [](std::span<const std::byte> bytes, LoadDepth depth) {
                                                return parse_with(parse_checkpoint, bytes, depth);
                                              }},
                                         Kind{"bundle", kBundleFormat,
                                              [](const std::string& path) {
                                                return write_bundle(path, sample_bundle());
                                              },
                                              [](std::span<const std::byte> bytes, LoadDepth depth) {
                                                return parse_with(parse_bundle, bytes, depth);
                                              }}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(FileKindTest, EachKindOfFileSaysThatItIsNotTheOther) {
  const TempFolder folder;
  // Extensions tell nothing.
  const std::string checkpoint = folder.file("a.nacre");
  const std::string bundle = folder.file("b.ckpt");
  ASSERT_TRUE(write_checkpoint(checkpoint, sample_checkpoint(), false).ok());
  ASSERT_TRUE(write_bundle(bundle, sample_bundle()).ok());
  write_text(folder.file("c"), "text");
  EXPECT_EQ(detect_kind(checkpoint).value(), FileKind::kCheckpoint);
  EXPECT_EQ(detect_kind(bundle).value(), FileKind::kBundle);
  EXPECT_EQ(detect_kind(folder.file("c")).value(), FileKind::kOther);
  EXPECT_EQ(detect_kind(folder.path()).status().code(), StatusCode::kIo);
  EXPECT_EQ(detect_kind(folder.file("none")).status().code(), StatusCode::kIo);
  EXPECT_EQ(read_bundle(checkpoint).status().message(),
            checkpoint + ": is a nacre checkpoint, not a nacre bundle");
  EXPECT_EQ(read_checkpoint(bundle).status().message(),
            bundle + ": is a nacre bundle, not a nacre checkpoint");
  EXPECT_EQ(read_checkpoint(bundle).status().code(), StatusCode::kCorrupt);
}

TEST(FileKindTest, WhatCannotBeReadIsAnErrorOfTheSystem) {
  const TempFolder folder;
  for (const bool use_mmap : {false, true}) {
    const ReadOptions options{.use_mmap = use_mmap};
    EXPECT_EQ(read_bundle(folder.file("none"), options).status().code(), StatusCode::kIo);
    EXPECT_EQ(read_bundle(folder.path(), options).status().code(), StatusCode::kIo);
    write_text(folder.file("empty"), "");
    EXPECT_EQ(read_bundle(folder.file("empty"), options).status().code(), StatusCode::kCorrupt);
  }
}

}  // namespace
}  // namespace nacre
