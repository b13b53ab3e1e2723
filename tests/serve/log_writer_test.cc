#include "serve/log_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <sstream>
#include <string>
#include <thread>

#include "serve/rest/rest_server.h"
#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

using Clock = std::chrono::steady_clock;

std::string dropped_line(uint64_t count) {
  return "dropped " + std::to_string(count);
}

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// A pipe that holds a page.
class LogWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    reading_ = ends[0];
    writing_ = ends[1];
    ASSERT_GE(fcntl(writing_, F_SETPIPE_SZ, 4096), 4096);
  }
  void TearDown() override {
    close_end(reading_);
    close_end(writing_);
  }
  static void close_end(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  /// What comes until it ends with `end`.
  [[nodiscard]] static std::string read_until(int fd, std::string_view end) {
    std::string all;
    std::string part(4096, '\0');
    while (!all.ends_with(end)) {
      const ssize_t n = read(fd, part.data(), part.size());
      if (n <= 0) break;
      all.append(part, 0, static_cast<size_t>(n));
    }
    return all;
  }

  int reading_ = -1;
  int writing_ = -1;
};

TEST_F(LogWriterTest, WritesLinesInTheirOrder) {
  LogWriter log(writing_, dropped_line);
  log.add("one");
  log.add("");
  log.add("three");
  EXPECT_TRUE(log.flush());
  EXPECT_EQ(read_until(reading_, "three\n"), "one\n\nthree\n");
}

TEST_F(LogWriterTest, WhoAddsNeverWaitsAndEveryLineIsThereOrCounted) {
  constexpr int kLines = 20000;
  LogWriter::Options options;
  options.max_bytes = 16384;
  LogWriter log(writing_, dropped_line, options);
  // It would hang here if it waited: nobody reads.
  for (int i = 0; i < kLines / 2; ++i) log.add(std::to_string(i));
  std::string all;
  std::thread reader([&] { all = read_until(reading_, "\nend\n"); });
  for (int i = kLines / 2; i < kLines; ++i) log.add(std::to_string(i));
  while (!log.flush()) {
  }
  log.add("end");
  reader.join();

  std::istringstream text(all);
  std::string line;
  int next = 0;
  int dropped = 0;
  while (std::getline(text, line) && line != "end") {
    if (line.starts_with("dropped ")) {
      dropped += std::stoi(line.substr(8));
      next += std::stoi(line.substr(8));
    } else {
      ASSERT_EQ(line, std::to_string(next));
      ++next;
    }
  }
  EXPECT_EQ(next, kLines);
  EXPECT_GT(dropped, 0);
}

TEST_F(LogWriterTest, SaysWhatWasDroppedAlsoWhenNoLineFollows) {
  LogWriter::Options options;
  options.max_bytes = 8;
  LogWriter log(writing_, dropped_line, options);
  log.add("longer than all");
  EXPECT_EQ(read_until(reading_, "\n"), "dropped 1\n");
}

TEST_F(LogWriterTest, EndsThoughNobodyReads) {
  const Clock::time_point begun = Clock::now();
  {
    LogWriter::Options options;
    options.patience = std::chrono::milliseconds(50);
    LogWriter log(writing_, dropped_line, options);
    for (int i = 0; i < 10000; ++i) log.add("a line");
    EXPECT_FALSE(log.flush());
  }
  const auto taken = Clock::now() - begun;
  EXPECT_GE(taken, std::chrono::milliseconds(50));
  EXPECT_LT(taken, std::chrono::seconds(10));
}

TEST_F(LogWriterTest, WritesWhatWaitsBeforeItEnds) {
  std::string all;
  std::thread reader([&] { all = read_until(reading_, "end\n"); });
  {
    LogWriter log(writing_, dropped_line);
    for (int i = 0; i < 5000; ++i) log.add("a line");
    log.add("end");
  }
  close_end(writing_);
  reader.join();
  EXPECT_EQ(all.size(), 5000 * 7 + 4);
}

TEST_F(LogWriterTest, AReaderThatHasGoneTakesNoTime) {
  close_end(reading_);
  LogWriter log(writing_, dropped_line);
  for (int i = 0; i < 1000; ++i) log.add("a line");
  EXPECT_TRUE(log.flush());
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_seconds() - before, 0.1);
}

TEST_F(LogWriterTest, AReaderThatComesBackIsToldWhatItMissed) {
  TempFolder folder;
  const std::string fifo = folder.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  int reader = open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  int writer = open(fifo.c_str(), O_WRONLY);
  ASSERT_GE(writer, 0);
  LogWriter log(writer, dropped_line);
  close_end(reader);
  for (const char* const line : {"a", "b"}) {
    log.add(line);
    EXPECT_TRUE(log.flush());
  }
  log.add("c");
  EXPECT_TRUE(log.flush());
  reader = open(fifo.c_str(), O_RDONLY);
  log.add("d");
  EXPECT_EQ(read_until(reader, "d\n"), "dropped 3\nd\n");
  close_end(reader);
  close_end(writer);
}

TEST_F(LogWriterTest, ADescriptorThatIsNonBlockingLosesNothing) {
  ASSERT_EQ(fcntl(writing_, F_SETFL, O_NONBLOCK), 0);
  LogWriter log(writing_, dropped_line);
  for (int i = 0; i < 5000; ++i) log.add("a line");
  log.add("end");
  EXPECT_EQ(read_until(reading_, "end\n").size(), 5000 * 7 + 4);
}

TEST_F(LogWriterTest, NoLineIsCutWherePipesAreShared) {
  LogWriter log(writing_, dropped_line);
  const std::string line(1500, 'x');
  for (int i = 0; i < 30; ++i) log.add(line);
  std::thread other([&] {
    for (int i = 0; i < 30; ++i) {
      ASSERT_EQ(write(writing_, "other\n", 6), 6);
    }
    log.add("end");
  });
  std::istringstream text(read_until(reading_, "end\n"));
  other.join();
  std::string found;
  while (std::getline(text, found)) {
    EXPECT_TRUE(found == line || found == "other" || found == "end") << found;
  }
}

TEST_F(LogWriterTest, AClosedDescriptorIsNoFault) {
  LogWriter log(-1, dropped_line);
  log.add("a line");
  EXPECT_TRUE(log.flush());
}

TEST(AccessLogTest, DroppedLinesAreOfTheLogsFormat) {
  constexpr const char* kTime = "[0-9-]+T[0-9:]+Z";
  EXPECT_THAT(dropped_access_lines(12, AccessLog::kText),
              testing::MatchesRegex(std::string(kTime) + " 12 lines dropped"));
  EXPECT_THAT(dropped_access_lines(12, AccessLog::kJson),
              testing::MatchesRegex(R"(\{"time": ")" + std::string(kTime) + R"(", "dropped": 12\})"));
}

}  // namespace
}  // namespace nacre
