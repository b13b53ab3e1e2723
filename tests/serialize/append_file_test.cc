#include "serialize/append_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using Open = AppendFile::Open;

class AppendFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::string text() const { return read_text(path()); }
  [[nodiscard]] std::string path() const { return folder_.file("log"); }

  TempFolder folder_;
};

TEST_F(AppendFileTest, GoesOnWhereAFileEnds) {
  {
    auto file = AppendFile::open(path(), Open::kGoOn);
    ASSERT_TRUE(file.ok());
    file->add("one\ntwo\n");
    EXPECT_EQ(text(), "");
    ASSERT_TRUE(file->flush().ok());
    EXPECT_EQ(text(), "one\ntwo\n");
    ASSERT_TRUE(file->truncate(4).ok());
    file->add("three\n");
  }
  EXPECT_EQ(text(), "one\nthree\n");
  auto again = AppendFile::open(path(), Open::kGoOn);
  ASSERT_TRUE(again.ok());
  again->add("four\n");
  AppendFile moved = std::move(again).value();
  ASSERT_TRUE(moved.flush().ok());
  EXPECT_EQ(text(), "one\nthree\nfour\n");
}

TEST_F(AppendFileTest, RefusesWhatIsThereAndLinks) {
  std::ofstream(path()) << "mine";
  const auto there = AppendFile::open(path(), Open::kNewOnly);
  ASSERT_FALSE(there.ok());
  EXPECT_EQ(there.status().code(), StatusCode::kIo);
  EXPECT_THAT(there.status().message(), testing::StartsWith(path() + ": "));
  fs::rename(path(), folder_.file("other"));
  fs::create_symlink("other", path());
  EXPECT_FALSE(AppendFile::open(path(), Open::kGoOn).ok());
  EXPECT_EQ(text(), "mine");
}

TEST_F(AppendFileTest, SaysWhenTheDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_FAIL() << "this test needs /dev/full";
  auto file = AppendFile::open("/dev/full", Open::kGoOn);
  ASSERT_TRUE(file.ok());
  file->add("lost");
  const Status status = file->flush();
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_EQ(status.message(), "/dev/full: No space left on device");
}

}  // namespace
}  // namespace nacre
