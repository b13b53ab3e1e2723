// Folders appear whole or not at all: faults at every call, two writers, odd targets (items 42 to 47).
#include "serialize/atomic_folder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <thread>

#include "faulty_file_system.h"
#include "test_files.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;

const std::vector<std::string>& names() {
  static const std::vector<std::string> list{"one", "inner"};
  return list;
}

/// A folder with a file and a folder with a file, both holding `text`.
Status write_folder(const std::string& path, std::string_view text, bool overwrite, FileSystem& file_system) {
  NACRE_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path, names(), overwrite, file_system));
  NACRE_RETURN_IF_ERROR(folder.make_folder("inner"));
  NACRE_RETURN_IF_ERROR(folder.write_file("inner/two", text));
  NACRE_RETURN_IF_ERROR(folder.write_file("one", text));
  return folder.commit();
}

Status write_folder(const std::string& path, std::string_view text, bool overwrite = true) {
  FaultyFileSystem without_fault;
  return write_folder(path, text, overwrite, without_fault);
}

/// The text that both files of a whole folder hold; "none" when there is none, "torn" when it is not whole.
std::string text_of(const std::string& path) {
  if (!fs::exists(path)) return "none";
  if (!fs::exists(path + "/one") || !fs::exists(path + "/inner/two")) return "torn";
  const std::string text = read_text(path + "/one");
  const auto entries =
      std::distance(fs::recursive_directory_iterator(path), fs::recursive_directory_iterator());
  return text == read_text(path + "/inner/two") && entries == 3 ? text : "torn";
}

TEST(AtomicFolderTest, AppearsWithAllItsFiles) {
  const TempFolder temp;
  {
    auto folder = AtomicFolder::create(temp.file("a//"), names(), false);
    ASSERT_TRUE(folder.ok()) << folder.status().message();
    ASSERT_TRUE(folder->make_folder("inner").ok());
    ASSERT_TRUE(folder->write_file("inner/two", "text").ok());
    ASSERT_TRUE(folder->write_file("one", "text").ok());
    EXPECT_EQ(folder->staging(), temp.file(".a.tmp"));
    EXPECT_EQ(text_of(temp.file("a")), "none");
    ASSERT_TRUE(folder->commit().ok());
  }
  EXPECT_EQ(text_of(temp.file("a")), "text");
  EXPECT_THAT(temp.names(), ElementsAre("a"));
}

TEST(AtomicFolderTest, WithoutCommitNothingIsLeft) {
  const TempFolder temp;
  {
    auto folder = AtomicFolder::create(temp.file("a"), names(), false);
    ASSERT_TRUE(folder.ok());
    ASSERT_TRUE(folder->make_folder("inner").ok());
    ASSERT_TRUE(folder->write_file("inner/two", "text").ok());
  }
  EXPECT_TRUE(temp.names().empty());
}

TEST(AtomicFolderTest, AnOldFolderIsReplacedOnlyWhenThatIsAskedFor) {
  const TempFolder temp;
  ASSERT_TRUE(write_folder(temp.file("a"), "old", false).ok());
  const Status refused = write_folder(temp.file("a"), "new", false);
  EXPECT_EQ(refused.code(), StatusCode::kIo);
  EXPECT_THAT(refused.message(), HasSubstr(temp.file("a") + ": exists already"));
  EXPECT_EQ(text_of(temp.file("a")), "old");
  ASSERT_TRUE(write_folder(temp.file("a"), "new", true).ok());
  EXPECT_EQ(text_of(temp.file("a")), "new");
  EXPECT_THAT(temp.names(), ElementsAre("a"));
}

TEST(AtomicFolderTest, AFolderThatHoldsAnythingElseIsNeverRemoved) {
  const TempFolder temp;
  fs::create_directories(temp.file("home/documents"));
  write_text(temp.file("home/one"), "mine");
  const Status status = write_folder(temp.file("home"), "new");
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), HasSubstr("holds documents, which nacre has not written"));
  EXPECT_EQ(read_text(temp.file("home/one")), "mine");
  // Nor one that came in between.
  auto folder = AtomicFolder::create(temp.file("b"), names(), true);
  ASSERT_TRUE(folder.ok());
  fs::create_directories(temp.file("b/precious"));
  EXPECT_EQ(folder->commit().code(), StatusCode::kIo);
  folder = Status(StatusCode::kIo, "dropped");
  EXPECT_TRUE(fs::exists(temp.file("b/precious")));
  // Nor in the place of the temporary.
  fs::create_directories(temp.file(".c.tmp/precious"));
  EXPECT_EQ(write_folder(temp.file("c"), "new").code(), StatusCode::kIo);
  EXPECT_TRUE(fs::exists(temp.file(".c.tmp/precious")));
  EXPECT_THAT(temp.names(), ElementsAre(".c.tmp", "b", "home"));
}

TEST(AtomicFolderTest, LinksAreRemovedAndNotFollowed) {
  const TempFolder temp;
  fs::create_directories(temp.file("a/inner/deep"));
  fs::create_directories(temp.file("outside"));
  write_text(temp.file("outside/file"), "precious");
  fs::create_directory_symlink("../outside", temp.file("a/one"));
  fs::create_directory_symlink("../../../outside", temp.file("a/inner/deep/link"));
  fs::create_symlink("../../outside/file", temp.file("a/inner/file"));
  ASSERT_TRUE(write_folder(temp.file("a"), "new").ok());
  EXPECT_EQ(text_of(temp.file("a")), "new");
  EXPECT_EQ(read_text(temp.file("outside/file")), "precious");
}

TEST(AtomicFolderTest, TargetsThatAreNoFoldersAreRefused) {
  const TempFolder temp;
  const auto expect_refused = [&](const std::string& name, const char* reason) {
    const Status status = write_folder(temp.file(name), "new");
    EXPECT_EQ(status.code(), StatusCode::kIo) << name;
    EXPECT_THAT(status.message(), HasSubstr(reason)) << name;
  };
  write_text(temp.file("file"), "old");
  expect_refused("file", "is a file");
  fs::create_directory(temp.file("folder"));
  fs::create_directory_symlink("folder", temp.file("link"));
  expect_refused("link", "is a symlink");
  expect_refused("none/x", "open its folder");
  expect_refused("folder/..", "expected a path that ends in a name");
  fs::create_directory_symlink("folder", temp.file(".x.tmp"));
  expect_refused("x", "open");
  EXPECT_EQ(write_folder("/", "new").code(), StatusCode::kIo);
  EXPECT_EQ(write_folder("/proc/self/nacre-test", "new").code(), StatusCode::kIo);
  EXPECT_THAT(temp.names(), ElementsAre(".x.tmp", "file", "folder", "link"));
}

TEST(AtomicFolderTest, ASecondWriterIsRefused) {
  const TempFolder temp;
  auto first = AtomicFolder::create(temp.file("a"), names(), false);
  ASSERT_TRUE(first.ok());
  const Status second = write_folder(temp.file("a"), "second");
  EXPECT_EQ(second.code(), StatusCode::kLocked);
  EXPECT_THAT(second.message(), HasSubstr(temp.file("a") + ": another process"));
  EXPECT_TRUE(write_folder(temp.file("b"), "other").ok());
  ASSERT_TRUE(first->commit().ok());
  EXPECT_THAT(temp.names(), ElementsAre("a", "b"));
}

TEST(AtomicFolderTest, WhatADeadProcessLeftIsSwept) {
  const TempFolder temp;
  fs::create_directories(temp.file(".a.tmp/inner"));
  write_text(temp.file(".a.tmp/inner/half"), "half");
  write_text(temp.file(".a.tmp/.one.tmp"), "half");
  fs::create_directories(temp.file(".a.old/inner"));
  ASSERT_TRUE(write_folder(temp.file("a"), "text", false).ok());
  EXPECT_EQ(text_of(temp.file("a")), "text");
  EXPECT_THAT(temp.names(), ElementsAre("a"));
}

TEST(AtomicFolderTest, EveryByteIsDurableBeforeTheNewName) {
  const TempFolder temp;
  FaultyFileSystem counting;
  ASSERT_TRUE(write_folder(temp.file("a"), "text", false, counting).ok());
  const auto& calls = counting.calls();
  const auto last = [&](const char* name) {
    return calls.rend() - std::find(calls.rbegin(), calls.rend(), name) - 1;
  };
  // Each file renames its own temporary; the last rename is the folder's.
  EXPECT_LT(last("write"), last("rename"));
  const std::vector<std::string> end(calls.begin() + last("rename") - 2, calls.end());
  EXPECT_EQ(end.front(), "fsync");  // of the new folder, then a look at the target
  EXPECT_EQ(std::count(end.begin(), end.end(), "fsync"), 2);
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "fsync"), 2 * 2 + 2);
}

/// A file system that cannot exchange two names.
class NoExchange : public FaultyFileSystem {
 public:
  using FaultyFileSystem::FaultyFileSystem;
  int exchange(const char* /*from*/, const char* /*to*/) override {
    errno = EINVAL;
    return -1;
  }
};

/// Fails each call in turn and checks what is there afterwards.
template <typename FileSystemUnderTest>
void check_faults(Fault fault, int error, bool old, bool stale) {
  for (size_t n = 0;; ++n) {
    const TempFolder temp;
    const std::string path = temp.file("a");
    if (old) {
      ASSERT_TRUE(write_folder(path, "old").ok());
    }
    if (stale) {
      fs::create_directories(temp.file(".a.tmp/inner"));
      write_text(temp.file(".a.tmp/inner/two"), "half");
    }
    FileSystemUnderTest file_system(fault, n, error);
    const Status status = write_folder(path, "new", true, file_system);
    if (n >= file_system.calls().size()) return;  // no such call any more
    const std::string where = "call " + std::to_string(n) + " (" + file_system.calls()[n] + ")";
    const std::string text = text_of(path);
    if (status.ok()) {
      ASSERT_EQ(text, "new") << where;
    } else {
      ASSERT_THAT(status.code(), AnyOf(StatusCode::kIo, StatusCode::kLocked)) << where;
      ASSERT_THAT(status.message(), HasSubstr(temp.path())) << where;
      // With the place of the old one when there is no way back to it.
      if (status.message().find("what was there is") != std::string::npos) {
        ASSERT_EQ(text_of(temp.file(".a.old")), "old") << where;
      } else {
        ASSERT_THAT(text, AnyOf("new", old ? "old" : "none")) << where;
      }
    }
    // Whatever was left, the next writer is not kept from working and leaves nothing.
    const Status next = write_folder(path, "next");
    ASSERT_TRUE(next.ok()) << where << ": " << next.message();
    ASSERT_EQ(text_of(path), "next") << where;
    ASSERT_THAT(temp.names(), ElementsAre("a")) << where;
  }
}

TEST(AtomicFolderTest, NothingIsLostWhicheverCallFails) {
  for (const bool old : {false, true}) {
    for (const bool stale : {false, true}) {
      check_faults<FaultyFileSystem>(Fault::kOnce, ENOSPC, old, stale);
      check_faults<FaultyFileSystem>(Fault::kFromThenOn, EIO, old, stale);
    }
  }
  check_faults<NoExchange>(Fault::kOnce, EIO, true, false);
  check_faults<NoExchange>(Fault::kFromThenOn, EIO, true, false);
}

TEST(AtomicFolderTest, WithoutExchangeTheOldFolderIsRenamedBeforeAndRemovedAfter) {
  const TempFolder temp;
  ASSERT_TRUE(write_folder(temp.file("a"), "old").ok());
  fs::create_directories(temp.file(".a.old/inner"));
  NoExchange file_system;
  ASSERT_TRUE(write_folder(temp.file("a"), "new", true, file_system).ok());
  EXPECT_EQ(text_of(temp.file("a")), "new");
  EXPECT_THAT(temp.names(), ElementsAre("a"));
}

TEST(AtomicFolderTest, ShortWritesAndInterruptedCallsAreCarriedOn) {
  const TempFolder temp;
  ASSERT_TRUE(write_folder(temp.file("a"), "text").ok());
  for (size_t n = 0;; ++n) {
    FaultyFileSystem shortened(Fault::kShortWrite, n);
    EXPECT_TRUE(write_folder(temp.file("a"), "text", true, shortened).ok()) << n;
    EXPECT_EQ(text_of(temp.file("a")), "text");
    FaultyFileSystem interrupted(Fault::kOnce, n, EINTR);
    const Status status = write_folder(temp.file("a"), "text", true, interrupted);
    if (n >= interrupted.calls().size()) break;
    const std::string& call = interrupted.calls()[n];
    // Linux documents EINTR for these.
    if (call == "open" || call == "openat" || call == "write" || call == "fsync" || call == "flock" ||
        call == "close") {
      EXPECT_TRUE(status.ok()) << call << ": " << status.message();
    }
  }
}

TEST(AtomicFolderTest, ManyWritersAtOnceLeaveOneWholeFolder) {
  const TempFolder temp;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&temp, writer] {
      const std::string text(1000, static_cast<char>('a' + writer));
      for (int i = 0; i < 40; ++i) {
        const Status status = write_folder(temp.file("x"), text);
        EXPECT_THAT(status.code(), AnyOf(StatusCode::kOk, StatusCode::kLocked)) << status.message();
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(text_of(temp.file("x")).size(), 1000U);
  EXPECT_THAT(temp.names(), ElementsAre("x"));
}

TEST(AtomicFolderTest, TheVisibleFolderIsWholeWheneverItsWriterIsKilled) {
  const TempFolder temp;
  ASSERT_TRUE(write_folder(temp.file("x"), "start").ok());
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0;; ++i) {
        if (!write_folder(temp.file("x"), std::string(2000, static_cast<char>('a' + i % 26))).ok()) _exit(1);
      }
    }
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(std::chrono::microseconds(500 + round * 397 % 9000));
    kill(child, SIGKILL);
    int how = 0;
    waitpid(child, &how, 0);
    ASSERT_TRUE(WIFSIGNALED(how)) << "the writer stopped by itself";
    ASSERT_THAT(text_of(temp.file("x")).size(), AnyOf(5U, 2000U));
  }
  ASSERT_TRUE(write_folder(temp.file("x"), "end").ok());
  EXPECT_THAT(temp.names(), ElementsAre("x"));
}

}  // namespace
}  // namespace nacre
