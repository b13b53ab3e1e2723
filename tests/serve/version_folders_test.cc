#include "serve/version_folders.h"

#include <filesystem>

#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

TEST(ParseVersion, TakesDecimalNumbersOf63Bits) {
  EXPECT_EQ(parse_version("1"), 1);
  EXPECT_EQ(parse_version("0"), 0);
  EXPECT_EQ(parse_version("00000123"), 123);
  EXPECT_EQ(parse_version("9223372036854775807"), INT64_MAX);
  for (const char* const name : {"", "abc", "1a", "a1", "-1", "+1", " 1", "1 ", "0x1", "1.0",
                                 "9223372036854775808", "18446744073709551616"}) {
    EXPECT_FALSE(parse_version(name).has_value()) << name;
  }
}

class VersionFolders : public ServeTest {};

TEST_F(VersionFolders, AreNumericFoldersHighestFirst) {
  for (const char* const name : {"1", "10", "9", "abc", "18446744073709551616", ".11", "12.tmp"}) {
    fs::create_directories(path(std::string("base/") + name));
  }
  write_file("base/13", "a file is no version");
  const auto folders = list_versions(path("base"));
  ASSERT_TRUE(folders.ok()) << folders.status().message();
  const std::vector<VersionFolder> expected = {
      {10, path("base/10")}, {9, path("base/9")}, {1, path("base/1")}};
  EXPECT_EQ(*folders, expected);
}

TEST_F(VersionFolders, TheShorterOfTwoNamesForOneVersionCounts) {
  for (const char* const name : {"001", "1", "01", "02"})
    fs::create_directories(path(std::string("base/") + name));
  const auto folders = list_versions(path("base"));
  ASSERT_TRUE(folders.ok());
  const std::vector<VersionFolder> expected = {{2, path("base/02")}, {1, path("base/1")}};
  EXPECT_EQ(*folders, expected);
}

TEST_F(VersionFolders, AMissingBasePathIsAnError) {
  const auto folders = list_versions(path("none"));
  ASSERT_FALSE(folders.ok());
  EXPECT_EQ(folders.status().code(), StatusCode::kIo);
  EXPECT_EQ(folders.status().message(), path("none") + ": No such file or directory");
}

TEST_F(VersionFolders, FingerprintsFollowTheFiles) {
  write_file("v/a/x", "12");
  const auto first = folder_fingerprint(path("v"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*folder_fingerprint(path("v")), *first);
  write_file("v/.hidden", "1");
  EXPECT_EQ(*folder_fingerprint(path("v")), *first);
  write_file("v/a/x", "123");
  const auto grown = folder_fingerprint(path("v"));
  EXPECT_NE(*grown, *first);
  write_file("v/y", "");
  EXPECT_NE(*folder_fingerprint(path("v")), *grown);
  EXPECT_EQ(folder_fingerprint(path("none")).status().code(), StatusCode::kIo);
}

}  // namespace
}  // namespace nacre
