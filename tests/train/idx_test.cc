#include "train/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/train/data_fixture.h"

namespace nacre {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> as_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

Status parse_status(std::string_view text) {
  return parse_idx(as_bytes(text)).status();
}

void expect_bad(std::string_view file, const std::string& reason) {
  const Status status = parse_status(file);
  EXPECT_EQ(status.code(), StatusCode::kBadData) << reason;
  EXPECT_THAT(status.message(), HasSubstr(reason));
}

TEST(Idx, ReadsPlainAndGzipAlike) {
  const std::string file = idx_bytes({2, 1, 3}, "abcdef");
  for (const std::string& form : {file, gzip(file)}) {
    const auto array = parse_idx(as_bytes(form));
    ASSERT_TRUE(array.ok()) << array.status().message();
    EXPECT_THAT(array->dims, ElementsAre(2, 1, 3));
    ASSERT_EQ(array->bytes().size(), 6U);
    EXPECT_EQ(array->bytes()[5], std::byte{'f'});
  }
}

TEST(Idx, WrongMagicIsRefused) {
  for (const std::string& magic : {std::string("\x00\x00\x0d\x01", 4), std::string("\x00\x01\x08\x01", 4),
                                   std::string("\x00\x00\x08\x00", 4), std::string("\x00\x00\x08\x05", 4)}) {
    const std::string file = magic + std::string("\0\0\0\1x", 5);
    expect_bad(file, "wrong magic number");
    expect_bad(gzip(file), "wrong magic number");
  }
  EXPECT_THAT(parse_status("<html>").message(), HasSubstr("3c 68 74 6d"));
}

TEST(Idx, OverflowingAndHugeDimensionsAreRefusedBeforeAllocating) {
  for (const auto& dims : {std::vector<uint32_t>{0xffffffffU, 0xffffffffU, 0xffffffffU},
                           std::vector<uint32_t>{0x80000000U, 0x80000000U, 4},  // the product wraps to 0
                           std::vector<uint32_t>{1000000000U}}) {
    const std::string file = idx_bytes(dims, "abcd");
    expect_bad(file, "short data");
    expect_bad(gzip(file), "short data");
  }
}

TEST(Idx, ZeroDimensionIsRefused) {
  expect_bad(idx_bytes({0}, ""), "dimension 0 is 0");
}

TEST(Idx, ShortDataIsRefusedAtEveryLength) {
  const std::string file = idx_bytes({2, 2, 2}, "abcdefgh");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_EQ(parse_status(std::string_view(file).substr(0, size)).code(), StatusCode::kBadData) << size;
    EXPECT_EQ(parse_status(gzip(std::string_view(file).substr(0, size))).code(), StatusCode::kBadData)
        << size;
  }
  const std::string packed = gzip(file);
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_EQ(parse_status(std::string_view(packed).substr(0, size)).code(), StatusCode::kBadData) << size;
  }
}

TEST(Idx, TrailingDataIsRefused) {
  const std::string file = idx_bytes({2}, "ab");
  expect_bad(file + "c", "trailing data");
  expect_bad(gzip(file + "c"), "trailing data inside");
  expect_bad(gzip(file) + "c", "trailing data: 1 bytes");
  expect_bad(gzip(file) + gzip(file), "trailing data");
}

TEST(Idx, DamagedGzipIsRefusedByItsChecksum) {
  const std::string file = idx_bytes({3}, "abc");
  const std::string packed = gzip(file);
  const auto intact = parse_idx(as_bytes(file));
  ASSERT_TRUE(intact.ok());
  size_t refused = 0;
  // Gzip's header holds no data up to byte 10; after that only the bits that pad deflate's last byte may
  // differ.
  for (size_t at = 10; at < packed.size(); ++at) {
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    const auto array = parse_idx(as_bytes(damaged));
    if (!array.ok()) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(std::equal(array->bytes().begin(), array->bytes().end(), intact->bytes().begin(),
                           intact->bytes().end()))
        << at;
  }
  EXPECT_GE(refused, packed.size() - 11);
}

class IdxFolder : public DataTest {};

TEST_F(IdxFolder, PairIsReadFromMixedForms) {
  write("train-images-idx3-ubyte.gz", gzip(idx_bytes({2, 1, 2}, "abcd")));
  write("train-labels-idx1-ubyte", idx_bytes({2}, std::string("\x01\x00", 2)));
  const auto pair = read_idx_pair(folder_, "train");
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->images.dims[0], 2);
  EXPECT_EQ(pair->labels.bytes()[0], std::byte{1});
  const auto missing = read_idx_pair(folder_, "t10k");
  EXPECT_EQ(missing.status().code(), StatusCode::kIo);
  EXPECT_THAT(missing.status().message(), HasSubstr(folder_ + ": no t10k-images"));
}

TEST_F(IdxFolder, CountsThatDifferAreNamed) {
  write("t10k-images-idx3-ubyte", idx_bytes({2, 1, 2}, "abcd"));
  write("t10k-labels-idx1-ubyte", idx_bytes({3}, "abc"));
  const auto pair = read_idx_pair(folder_, "t10k");
  EXPECT_EQ(pair.status().code(), StatusCode::kBadData);
  EXPECT_THAT(pair.status().message(),
              AllOf(HasSubstr("t10k-labels-idx1-ubyte: holds 3 labels"), HasSubstr("2 images")));
}

TEST_F(IdxFolder, WrongRanksSidesAndChannelsAreRefused) {
  write("t10k-labels-idx1-ubyte", idx_bytes({1}, "a"));
  const auto expect_refused = [&](const std::string& images, const std::string& reason) {
    write("t10k-images-idx3-ubyte", images);
    const auto pair = read_idx_pair(folder_, "t10k");
    EXPECT_EQ(pair.status().code(), StatusCode::kBadData);
    EXPECT_THAT(pair.status().message(), AllOf(HasSubstr("t10k-images-idx3-ubyte: "), HasSubstr(reason)));
  };
  expect_refused(idx_bytes({1}, "a"), "found rank 1");
  expect_refused(idx_bytes({1, 1, 1, 2}, "ab"), "found 2");
  expect_refused(idx_bytes({1, 1, 20000}, std::string(20000, 'a')), "1x20000");
  write("t10k-labels-idx1-ubyte", idx_bytes({1, 1}, "a"));
  write("t10k-images-idx3-ubyte", idx_bytes({1, 1, 1}, "a"));
  EXPECT_THAT(read_idx_pair(folder_, "t10k").status().message(), HasSubstr("labels of rank 1"));
}

}  // namespace
}  // namespace nacre
