#include "engine/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>

#include "engine/file_stream.h"

namespace {

// What the next calls of read() do, seen from this thread.
struct ReadFaults {
  size_t max_bytes = SIZE_MAX;  ///< a call gives at most so many
  int errors_first = 0;         ///< so many calls fail with `error` before one works
  int error = EINTR;
  std::function<void()> before_each;  ///< runs before each call that works
  int calls = 0;
};
thread_local ReadFaults* faults = nullptr;

}  // namespace

// Stands before the C library's for the whole test program; without faults it is the same.
extern "C" ssize_t read(int fd, void* buffer, size_t count) {
  if (faults != nullptr) {
    ++faults->calls;
    if (faults->errors_first > 0) {
      --faults->errors_first;
      errno = faults->error;
      return -1;
    }
    if (faults->before_each) faults->before_each();
    count = std::min(count, faults->max_bytes);
  }
  return syscall(SYS_read, fd, buffer, count);
}

namespace nacre {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kNoLimit = size_t{1} << 30;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "nacre-file-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    faults = nullptr;
    std::filesystem::remove_all(folder_);
  }

  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }

  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

  /// read_file, MappedFile::open and FileStream::open refuse `path` with this code and a message that begins
  /// with the path and says `reason`.
  static void expect_refused(const std::string& path, const std::string& reason) {
    for (const Status& status : {read_file(path, kNoLimit).status(), MappedFile::open(path).status(),
                                 FileStream::open(path).status()}) {
      EXPECT_EQ(status.code(), StatusCode::kIo);
      EXPECT_THAT(status.message(), StartsWith(path + ": "));
      EXPECT_THAT(status.message(), HasSubstr(reason));
      EXPECT_EQ(status.message().find('\n'), std::string::npos);
    }
  }

  std::filesystem::path folder_;
};

std::string text_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

/// Text that is different everywhere, so that a misplaced block shows.
std::string long_text(size_t size) {
  std::string text;
  while (text.size() < size) text += std::to_string(text.size()) + ' ';
  text.resize(size);
  return text;
}

TEST_F(FileTest, AStreamReadsAgainAndNoticesChanges) {
  const std::string name = write("a", long_text(5000));
  auto file = FileStream::open(name);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->size(), 5000U);
  for (int time = 0; time < 2; ++time) {
    std::string text;
    std::vector<std::byte> piece(1024);
    for (;;) {
      const auto got = file->read(piece);
      ASSERT_TRUE(got.ok()) << got.status().message();
      if (*got == 0) break;
      text += text_of(std::span(piece).first(*got));
    }
    EXPECT_EQ(text, long_text(5000));
    EXPECT_TRUE(file->rewind().ok());
  }
  EXPECT_FALSE(file->changed());
  std::filesystem::resize_file(name, 100);
  EXPECT_TRUE(file->changed());
  const std::string other = write("b", "other");
  const auto same_size = FileStream::open(other);
  std::filesystem::last_write_time(other,
                                   std::filesystem::file_time_type::clock::now() + std::chrono::seconds(2));
  EXPECT_TRUE(same_size->changed());
}

TEST_F(FileTest, ReadsAndMapsWholeFiles) {
  for (const size_t size : {0U, 1U, 4095U, 4096U, 4097U, 100000U}) {
    const std::string text = long_text(size);
    const std::string name = write("a", text);
    const auto bytes = read_file(name, kNoLimit);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    EXPECT_EQ(text_of(*bytes), text);
    const auto mapped = MappedFile::open(name);
    ASSERT_TRUE(mapped.ok()) << mapped.status().message();
    EXPECT_EQ(text_of((*mapped)->bytes()), text);
  }
}

TEST_F(FileTest, MappingOutlivesTheName) {
  const std::string name = write("a", "kept");
  const auto mapped = MappedFile::open(name);
  ASSERT_TRUE(mapped.ok());
  std::filesystem::remove(name);
  EXPECT_EQ(text_of((*mapped)->bytes()), "kept");
}

TEST_F(FileTest, LimitIsExact) {
  const std::string name = write("a", "12345");
  EXPECT_TRUE(read_file(name, 5).ok());
  const Status status = read_file(name, 4).status();
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_EQ(status.message(), name + ": is larger than the limit of 4 bytes");
  EXPECT_TRUE(read_file(write("empty", ""), 0).ok());
}

// A file of 2^40 bytes, all a hole: refused before memory is asked for.
TEST_F(FileTest, HugeFileIsRefusedWithoutReading) {
  const std::string name = write("huge", "");
  ASSERT_EQ(truncate(name.c_str(), off_t{1} << 40), 0);
  ReadFaults none;
  faults = &none;
  EXPECT_EQ(read_file(name, kNoLimit).status().code(), StatusCode::kLimit);
  EXPECT_EQ(none.calls, 0);
}

TEST_F(FileTest, ShortAndInterruptedReadsAreContinued) {
  const std::string text = long_text(10000);
  const std::string name = write("a", text);
  for (const size_t step : {1U, 7U, 4096U}) {
    ReadFaults some{.max_bytes = step, .errors_first = 3, .error = EINTR, .before_each = {}};
    faults = &some;
    const auto bytes = read_file(name, kNoLimit);
    faults = nullptr;
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(text_of(*bytes), text);
    EXPECT_GE(some.calls, static_cast<int>(10000 / step));
  }
}

TEST_F(FileTest, FailingReadIsAnError) {
  const std::string name = write("a", "text");
  ReadFaults broken{.errors_first = 1, .error = EIO, .before_each = {}};
  faults = &broken;
  const Status status = read_file(name, kNoLimit).status();
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_EQ(status.message(), name + ": cannot read: Input/output error");
}

TEST_F(FileTest, FileThatGrowsWhileItIsReadIsReadToItsEnd) {
  const std::string name = write("a", long_text(5000));
  bool grown = false;
  ReadFaults growth{.max_bytes = 1000, .before_each = [&] {
                      if (!std::exchange(grown, true))
                        std::ofstream(name, std::ios::binary) << long_text(60000);
                    }};
  faults = &growth;
  const auto bytes = read_file(name, kNoLimit);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(text_of(*bytes), long_text(60000));

  grown = false;
  std::filesystem::resize_file(name, 5000);
  EXPECT_EQ(read_file(name, 50000).status().code(), StatusCode::kLimit);
}

TEST_F(FileTest, FileThatShrinksWhileItIsReadEndsWhereItEnds) {
  const std::string name = write("a", long_text(5000));
  ReadFaults shrinking{.max_bytes = 100, .before_each = [&] { std::filesystem::resize_file(name, 150); }};
  faults = &shrinking;
  const auto bytes = read_file(name, kNoLimit);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(text_of(*bytes), long_text(5000).substr(0, 150));
}

// Files of /proc are regular, say that they are empty, and are not.
TEST_F(FileTest, SizeIsOnlyAHint) {
  const auto bytes = read_file("/proc/self/status", kNoLimit);
  ASSERT_TRUE(bytes.ok());
  EXPECT_THAT(text_of(*bytes), HasSubstr("VmPeak"));
}

TEST_F(FileTest, TheHeadIsWhatThereIsOfIt) {
  const std::string file = write("file", "abcdef");
  for (const auto& [count, expected] :
       {std::pair<size_t, std::string>{0, ""}, {4, "abcd"}, {6, "abcdef"}, {100, "abcdef"}}) {
    const auto head = read_file_head(file, count);
    ASSERT_TRUE(head.ok());
    EXPECT_EQ(text_of(*head), expected);
  }
  EXPECT_EQ(read_file_head(path("none"), 4).status().code(), StatusCode::kIo);
  EXPECT_EQ(read_file_head(folder_.string(), 4).status().code(), StatusCode::kIo);
}

TEST_F(FileTest, MissingFilesAreNamed) {
  expect_refused(path("none"), "No such file or directory");
  expect_refused(path("no/file"), "No such file or directory");
  expect_refused(write("file", "") + "/inside", "Not a directory");
  expect_refused("", "No such file or directory");
}

TEST_F(FileTest, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  expect_refused(folder_.string(), "is a folder, not a regular file");
  expect_refused("/dev/null", "is a device, not a regular file");
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  expect_refused(path("fifo"), "is a FIFO, not a regular file");

  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path("socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  expect_refused(path("socket"), "is a socket or a device, not a regular file");
  close(fd);
}

TEST_F(FileTest, UnreadableFilesAreNamed) {
  std::filesystem::create_symlink(path("loop"), path("loop"));
  expect_refused(path("loop"), "cannot open: ");
  expect_refused(path(std::string(300, 'x')), "File name too long");
  const std::string with_nul = path("a") + std::string("\0b", 2);
  EXPECT_EQ(read_file(with_nul, kNoLimit).status().message(), path("a") + ": the name holds a NUL byte");
}

TEST_F(FileTest, FileWithoutPermissionIsRefusedUnlessPrivilegesAllowIt) {
  const std::string name = write("secret", "text");
  ASSERT_EQ(chmod(name.c_str(), 0), 0);
  const uid_t user = geteuid();
  constexpr uid_t kNobody = 65534;
  const bool changed = user == 0 && seteuid(kNobody) == 0;
  const bool allowed = faccessat(AT_FDCWD, name.c_str(), R_OK, AT_EACCESS) == 0;
  const auto bytes = read_file(name, kNoLimit);
  if (changed) {
    ASSERT_EQ(seteuid(user), 0);
  }
  EXPECT_EQ(bytes.ok(), allowed);
  if (!allowed) {
    EXPECT_EQ(bytes.status().code(), StatusCode::kIo);
    EXPECT_THAT(bytes.status().message(), EndsWith("cannot open: Permission denied"));
  }
}

}  // namespace
}  // namespace nacre
