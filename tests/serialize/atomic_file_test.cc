// Files appear whole or not at all: faults at every call, two writers, odd targets (items 42 to 47).
#include "serialize/atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "faulty_file_system.h"
#include "serialize/checkpoint_file.h"
#include "test_files.h"

namespace nacre {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;

/// Writes in three pieces, so that there are writes before and after each.
Status write_pieces(const std::string& path, std::string_view text, FileSystem& fs) {
  NACRE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, true, fs));
  const auto bytes = bytes_of(text);
  const size_t third = bytes.size() / 3;
  for (const size_t at : {size_t{0}, third, 2 * third}) {
    const size_t size = at == 2 * third ? bytes.size() - at : third;
    NACRE_RETURN_IF_ERROR(file.write(std::span(bytes).subspan(at, size)));
  }
  return file.commit();
}

TEST(AtomicFileTest, CallsComeInTheOrderThatSurvivesAPowerCut) {
  const TempFolder folder;
  FaultyFileSystem fs;
  ASSERT_TRUE(write_pieces(folder.file("a"), "some text", fs).ok());
  const auto& calls = fs.calls();
  const auto last = [&](const char* name) {
    return calls.rend() - std::find(calls.rbegin(), calls.rend(), name) - 1;
  };
  const auto first = [&](const char* name) { return std::ranges::find(calls, name) - calls.begin(); };
  // The lock, then every byte, then fsync of the file, then the new name, then fsync of the folder.
  EXPECT_LT(first("flock"), first("write"));
  EXPECT_LT(last("write"), first("fsync"));
  EXPECT_LT(first("fsync"), first("rename"));
  EXPECT_LT(last("rename"), last("fsync"));
  EXPECT_EQ(std::ranges::count(calls, "fsync"), 2);
  EXPECT_EQ(read_text(folder.file("a")), "some text");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

/// Fails each call in turn and checks what is there afterwards. `stale` puts an old temporary in the way.
void check_faults(Fault fault, int error, bool stale, bool must_succeed) {
  for (size_t n = 0;; ++n) {
    const TempFolder folder;
    const std::string path = folder.file("a");
    write_text(path, "old");
    if (stale) write_text(folder.file(".a.tmp"), "half of an old");
    FaultyFileSystem fs(fault, n, error);
    const Status status = write_pieces(path, "new text", fs);
    if (n >= fs.calls().size()) return;  // no such call any more
    const std::string call = fs.calls()[n];
    const std::string where = "call " + std::to_string(n) + " (" + call + ")";
    const bool renamed = std::ranges::find(fs.calls().begin(), fs.calls().begin() + static_cast<long>(n),
                                           "rename") != fs.calls().begin() + static_cast<long>(n);
    if (must_succeed) {
      ASSERT_TRUE(status.ok()) << where << ": " << status.message();
    }
    // stat only decides whether the name is still ours, and the error of a close matters only for what was
    // written: where those fail, it may be tried anew.
    if (!status.ok()) {
      ASSERT_THAT(status.message(), HasSubstr(path + ": ")) << where;
      ASSERT_THAT(status.code(), AnyOf(StatusCode::kIo, StatusCode::kLocked)) << where;
    } else if (!must_succeed) {
      ASSERT_THAT(call, AnyOf("fstat", "lstat", "close")) << where;
    }
    const std::string text = read_text(path);
    ASSERT_EQ(text, status.ok() || renamed ? "new text" : "old") << where;
    if (fault == Fault::kOnce && call != "unlink" && !stale) {
      ASSERT_THAT(folder.names(), ElementsAre("a")) << where;
    }
    // Whatever was left, the next writer is not kept from working and leaves nothing.
    const Status next = write_pieces(path, "next", real_file_system());
    ASSERT_TRUE(next.ok()) << where << ": " << next.message();
    ASSERT_EQ(read_text(path), "next");
    ASSERT_THAT(folder.names(), ElementsAre("a")) << where;
  }
}

TEST(AtomicFileTest, NothingIsLostWhicheverCallFails) {
  for (const int error : {ENOSPC, EIO}) {
    for (const Fault fault : {Fault::kOnce, Fault::kFromThenOn}) {
      for (const bool stale : {false, true}) check_faults(fault, error, stale, false);
    }
  }
}

TEST(AtomicFileTest, InterruptedCallsAndShortWritesAreCarriedOn) {
  const TempFolder folder;
  FaultyFileSystem counting;
  ASSERT_TRUE(write_pieces(folder.file("a"), "text", counting).ok());
  check_faults(Fault::kShortWrite, 0, false, true);
  for (size_t n = 0; n < counting.calls().size(); ++n) {
    const std::string& call = counting.calls()[n];
    FaultyFileSystem fs(Fault::kOnce, n, EINTR);
    const Status status = write_pieces(folder.file("a"), "text", fs);
    // Linux documents EINTR for these.
    if (call == "open" || call == "write" || call == "fsync" || call == "flock" || call == "close") {
      EXPECT_TRUE(status.ok()) << call << ": " << status.message();
    }
    EXPECT_EQ(read_text(folder.file("a")), "text");
  }
}

TEST(AtomicFileTest, AFailedFsyncIsNotTriedAgain) {
  const TempFolder folder;
  FaultyFileSystem counting;
  ASSERT_TRUE(write_pieces(folder.file("a"), "old", counting).ok());
  const auto at = std::ranges::find(counting.calls(), "fsync") - counting.calls().begin();
  FaultyFileSystem fs(Fault::kOnce, static_cast<size_t>(at), EIO);
  const Status status = write_pieces(folder.file("a"), "new", fs);
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), HasSubstr("fsync"));
  EXPECT_EQ(std::ranges::count(fs.calls(), "fsync"), 1);
  EXPECT_EQ(std::ranges::count(fs.calls(), "rename"), 0);
  EXPECT_EQ(read_text(folder.file("a")), "old");
}

TEST(AtomicFileTest, CommitAfterAFailedWriteDropsTheFile) {
  const TempFolder folder;
  FaultyFileSystem counting;
  ASSERT_TRUE(write_pieces(folder.file("b"), "x", counting).ok());
  const auto at = std::ranges::find(counting.calls(), "write") - counting.calls().begin();
  FaultyFileSystem fs(Fault::kOnce, static_cast<size_t>(at), ENOSPC);
  auto file = AtomicFile::create(folder.file("a"), false, fs);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->write(bytes_of("x")).code(), StatusCode::kIo);
  EXPECT_EQ(file->commit().code(), StatusCode::kIo);
  EXPECT_THAT(folder.names(), ElementsAre("b"));
}

TEST(AtomicFileTest, ASecondWriterIsRefused) {
  const TempFolder folder;
  auto first = AtomicFile::create(folder.file("a"), false);
  ASSERT_TRUE(first.ok());
  const auto second = AtomicFile::create(folder.file("a"), true);
  EXPECT_EQ(second.status().code(), StatusCode::kLocked);
  EXPECT_THAT(second.status().message(), HasSubstr(folder.file("a") + ": another process"));
  // Another file in the same folder is none of its business.
  EXPECT_TRUE(AtomicFile::create(folder.file("b"), false).ok());
  ASSERT_TRUE(first->write(bytes_of("one")).ok());
  ASSERT_TRUE(first->commit().ok());
  EXPECT_EQ(read_text(folder.file("a")), "one");
  EXPECT_TRUE(atomic_write_text(folder.file("a"), "two").ok());
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(AtomicFileTest, ManyWritersAtOnceLeaveOneWholeFile) {
  const TempFolder folder;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&folder, writer] {
      const std::string text(1000 + static_cast<size_t>(writer), static_cast<char>('a' + writer));
      for (int i = 0; i < 50; ++i) {
        const Status status = atomic_write_text(folder.file("x"), text);
        EXPECT_THAT(status.code(), AnyOf(StatusCode::kOk, StatusCode::kLocked)) << status.message();
      }
    });
  }
  for (auto& writer : writers) writer.join();
  const std::string text = read_text(folder.file("x"));
  EXPECT_EQ(text, std::string(1000 + static_cast<size_t>(text[0] - 'a'), text[0]));
  EXPECT_THAT(folder.names(), ElementsAre("x"));
}

TEST(AtomicFileTest, TargetsThatAreNotToBeReplacedAreRefused) {
  const TempFolder folder;
  const auto expect_refused = [&](const std::string& name, bool overwrite, const char* reason) {
    const Status status = atomic_write_text(folder.file(name), "new", overwrite);
    EXPECT_EQ(status.code(), StatusCode::kIo) << name;
    EXPECT_THAT(status.message(), HasSubstr(reason)) << name;
  };
  write_text(folder.file("old"), "old");
  expect_refused("old", false, "exists already");
  std::filesystem::create_symlink("old", folder.file("link"));
  expect_refused("link", true, "is a symlink");
  std::filesystem::create_symlink("nowhere", folder.file("dangling"));
  expect_refused("dangling", true, "is a symlink");
  std::filesystem::create_directory(folder.file("folder"));
  expect_refused("folder", true, "is a folder");
  ASSERT_EQ(mkfifo(folder.file("fifo").c_str(), 0600), 0);
  expect_refused("fifo", true, "is a special file");
  expect_refused("none/x", true, "open its folder");
  expect_refused("old/x", true, "open its folder");
  expect_refused("folder/", true, "expected a path that ends in a name");
  expect_refused(std::string(255, 'x'), true, "create");
  EXPECT_EQ(read_text(folder.file("old")), "old");
  EXPECT_THAT(folder.names(), ElementsAre("dangling", "fifo", "folder", "link", "old"));
}

TEST(AtomicFileTest, AReadOnlyFolderIsAnErrorOfTheSystem) {
  // Permissions do not hold root back, so that /proc stands in: nobody creates files there.
  const Status status = atomic_write_text("/proc/self/nacre-test", "x");
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), HasSubstr("/proc/self/nacre-test: cannot create"));
  EXPECT_EQ(RunLock::acquire("/proc/self").status().code(), StatusCode::kIo);
}

TEST(AtomicFileTest, ATemporaryThatIsASymlinkIsNotFollowed) {
  const TempFolder folder;
  write_text(folder.file("victim"), "precious");
  std::filesystem::create_symlink("victim", folder.file(".a.tmp"));
  EXPECT_EQ(atomic_write_text(folder.file("a"), "x").code(), StatusCode::kIo);
  EXPECT_EQ(read_text(folder.file("victim")), "precious");
}

TEST(SymlinkTest, IsReplacedAtomically) {
  const TempFolder folder;
  const std::string link = folder.file("latest");
  ASSERT_TRUE(replace_symlink(link, "one").ok());
  EXPECT_EQ(std::filesystem::read_symlink(link), "one");
  for (const bool stale : {false, true}) {
    for (size_t n = 0;; ++n) {
      ASSERT_TRUE(replace_symlink(link, "one").ok());
      if (stale) std::filesystem::create_symlink("gone", folder.file(".latest.tmp"));
      FaultyFileSystem fs(Fault::kOnce, n, ENOSPC);
      const Status status = replace_symlink(link, "two", fs);
      if (n >= fs.calls().size()) break;
      const std::string target = std::filesystem::read_symlink(link);
      ASSERT_TRUE(target == "one" || target == "two");
      if (status.ok()) {
        ASSERT_EQ(target, "two");
      } else {
        ASSERT_EQ(status.code(), StatusCode::kIo);
      }
      if (!stale) {
        ASSERT_THAT(folder.names(), ElementsAre("latest")) << n;
      }
      ASSERT_TRUE(replace_symlink(link, "three").ok());
      ASSERT_THAT(folder.names(), ElementsAre("latest")) << n;
    }
  }
  write_text(folder.file("file"), "x");
  const Status refused = replace_symlink(folder.file("file"), "one");
  EXPECT_EQ(refused.code(), StatusCode::kIo);
  EXPECT_EQ(read_text(folder.file("file")), "x");
}

TEST(RunLockTest, KeepsASecondRunOutAndNamesTheFirst) {
  const TempFolder folder;
  {
    auto lock = RunLock::acquire(folder.path());
    ASSERT_TRUE(lock.ok()) << lock.status().message();
    const RunLock moved = std::move(*lock);
    const auto second = RunLock::acquire(folder.path());
    EXPECT_EQ(second.status().code(), StatusCode::kLocked);
    EXPECT_EQ(second.status().message(), folder.path() + ": in use by process " + std::to_string(getpid()));
  }
  EXPECT_TRUE(RunLock::acquire(folder.path()).ok());
  EXPECT_EQ(RunLock::acquire(folder.file("none")).status().code(), StatusCode::kIo);
}

/// Runs `body` in a child process.
pid_t start_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

TEST(RunLockTest, GoesWithItsProcess) {
  const TempFolder folder;
  const pid_t child = start_child([&] {
    const auto lock = RunLock::acquire(folder.path());
    if (lock.ok()) write_text(folder.file("ready"), "");
    pause();
  });
  ASSERT_GT(child, 0);
  while (!std::filesystem::exists(folder.file("ready")))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_THAT(RunLock::acquire(folder.path()).status().message(),
              HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(RunLock::acquire(folder.path()).ok());
}

TEST(KillTest, TheVisibleFileIsWholeWheneverItsWriterIsKilled) {
  const TempFolder folder;
  const std::string path = folder.file("latest.ckpt");
  uint64_t newest = 0;
  for (int round = 0; round < 40; ++round) {
    // The child says when its first file is there, so that the kill falls among the later ones.
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = start_child([&] {
      Checkpoint checkpoint = sample_checkpoint();
      if (!checkpoint.variables.add("big", Tensor(Shape{50000})).ok()) return;
      for (uint64_t step = newest + 1;; ++step) {
        checkpoint.state.step = step;
        if (!write_checkpoint(path, checkpoint, true).ok()) return;
        if (step == newest + 1 && ::write(ready[1], "x", 1) != 1) return;
      }
    });
    ASSERT_GT(child, 0);
    close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    close(ready[0]);
    std::this_thread::sleep_for(std::chrono::microseconds(round * 397 % 15000));
    kill(child, SIGKILL);
    int how = 0;
    waitpid(child, &how, 0);
    ASSERT_TRUE(WIFSIGNALED(how)) << "the writer stopped by itself";
    const auto read = read_checkpoint(path, {.depth = LoadDepth::kVerify});
    ASSERT_TRUE(read.ok()) << read.status().message();
    ASSERT_GT(read->state.step, newest);
    newest = read->state.step;
  }
  ASSERT_TRUE(write_checkpoint(path, sample_checkpoint(), true).ok());
  EXPECT_THAT(folder.names(), ElementsAre("latest.ckpt"));
}

}  // namespace
}  // namespace nacre
