#include "serve/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace nacre {
namespace {

struct Line {
  std::string text;  // with its line end
  uint64_t dropped_before = 0;
};

/// What is written at once.
struct Piece {
  std::string text;
  size_t bytes = 0;    // of the lines in it, that were counted
  uint64_t lines = 0;  // those that are lost when it is not written, and those that it says were dropped
};

/// What could not be written of `text`, which is empty unless there was an error.
std::string_view write_text(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      // Another program that has the descriptor has made it non-blocking.
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      break;
    }
  }
  return text;
}

}  // namespace

struct LogWriter::State {
  State(int given, DroppedLine line, size_t most)
      : fd(::fcntl(given, F_DUPFD_CLOEXEC, 0)), dropped_line(std::move(line)), max_bytes(most) {}
  ~State() {
    if (fd >= 0) ::close(fd);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// After a failure the count of lines that were dropped waits for the next line.
  [[nodiscard]] bool has_work() const { return !lines.empty() || (dropped > 0 && !failed); }
  Piece take();
  void written(const Piece& piece, std::string_view rest);

  const int fd;  // -1: writing fails
  const DroppedLine dropped_line;
  const size_t max_bytes;

  std::mutex mutex;
  std::condition_variable work;
  std::condition_variable idle;
  // All guarded by mutex.
  std::deque<Line> lines;
  size_t bytes = 0;      // of `lines`, and of what is being written
  uint64_t dropped = 0;  // behind `lines`
  bool writing = false;
  bool failed = false;  // what was written last
  bool cut = false;     // it ended within a line
  bool stopping = false;
};

/// Whole lines: as many as a pipe takes in one piece, but at least one.
Piece LogWriter::State::take() {
  Piece piece;
  const auto append = [&](uint64_t count, std::string_view line) {
    std::string text = count > 0 ? dropped_line(count) + "\n" : "";
    text += line;
    if (!piece.text.empty() && piece.text.size() + text.size() > PIPE_BUF) return false;
    piece.text += text;
    piece.lines += count;
    return true;
  };
  if (cut) piece.text = "\n";
  while (!lines.empty() && append(lines.front().dropped_before, lines.front().text)) {
    piece.bytes += lines.front().text.size();
    ++piece.lines;
    lines.pop_front();
  }
  if (lines.empty() && dropped > 0 && append(dropped, "")) dropped = 0;
  return piece;
}

/// `rest` of it was not.
void LogWriter::State::written(const Piece& piece, std::string_view rest) {
  bytes -= piece.bytes;
  failed = !rest.empty();
  if (rest.size() < piece.text.size()) cut = piece.text[piece.text.size() - rest.size() - 1] != '\n';
  if (failed) (lines.empty() ? dropped : lines.front().dropped_before) += piece.lines;
}

void LogWriter::run(State& state) {
  std::unique_lock lock(state.mutex);
  while (true) {
    state.work.wait(lock, [&] { return state.stopping || state.has_work(); });
    if (state.stopping) return;
    const Piece piece = state.take();
    state.writing = true;
    lock.unlock();
    const std::string_view rest = write_text(state.fd, piece.text);
    lock.lock();
    state.writing = false;
    state.written(piece, rest);
    if (!state.has_work()) state.idle.notify_all();
  }
}

LogWriter::LogWriter(int fd, DroppedLine dropped_line, const Options& options)
    : patience_(options.patience),
      state_(std::make_shared<State>(fd, std::move(dropped_line), options.max_bytes)) {
  std::thread([state = state_] { run(*state); }).detach();
}

LogWriter::~LogWriter() {
  flush();
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->work.notify_one();
}

void LogWriter::add(std::string_view line) {
  std::string text(line);
  text += '\n';
  const std::lock_guard lock(state_->mutex);
  if (state_->bytes + text.size() > state_->max_bytes) {
    ++state_->dropped;
  } else {
    state_->bytes += text.size();
    state_->lines.push_back({std::move(text), std::exchange(state_->dropped, 0)});
  }
  state_->work.notify_one();
}

bool LogWriter::flush() {
  std::unique_lock lock(state_->mutex);
  return state_->idle.wait_for(lock, patience_, [&] { return !state_->writing && !state_->has_work(); });
}

}  // namespace nacre
