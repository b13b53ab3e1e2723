#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace nacre {

/// A log that nobody waits for: lines are queued, and a thread of its own writes them to a descriptor, which
/// a reader that does not read may block for as long as it likes. What the queue has no room for, or cannot
/// be written, is dropped; the log says how many lines that were, in their place, as soon as it can be
/// written to. Lines up to PIPE_BUF bytes reach a pipe in one piece, whoever else writes to it. Thread-safe.
/// SIGPIPE must be ignored.
class LogWriter {
 public:
  /// The line that says that `count` lines were dropped, without its line end.
  using DroppedLine = std::function<std::string(uint64_t count)>;

  struct Options {
    size_t max_bytes = size_t{1} << 20;        ///< of lines that are not yet written
    std::chrono::milliseconds patience{1000};  ///< that the destructor has to write them
  };

  /// Writes to a duplicate of `fd`. Its thread blocks the signals that the caller does.
  LogWriter(int fd, DroppedLine dropped_line, const Options& options);
  LogWriter(int fd, DroppedLine dropped_line) : LogWriter(fd, std::move(dropped_line), Options()) {}
  /// Flushes; what is not written by then is lost.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  /// `line` without its line end. Never waits for the reader.
  void add(std::string_view line);

  /// Waits until no line waits, for as long as Options::patience. False when some still do.
  bool flush();

 private:
  struct State;

  static void run(State& state);

  const std::chrono::milliseconds patience_;
  const std::shared_ptr<State> state_;  // the thread's, too: it may stay blocked for longer than this lives
};

}  // namespace nacre
