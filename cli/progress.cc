#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli/console.h"

namespace nacre {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTerminalPause = std::chrono::milliseconds(100);
constexpr auto kPlainPause = std::chrono::seconds(5);

}  // namespace

std::string readable_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds > 1e9) return "?";
  const auto total = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  if (total < 60) return fmt::format("{}s", total);
  if (total < 3600) return fmt::format("{}m {:02}s", total / 60, total % 60);
  return fmt::format("{}h {:02}m", total / 3600, total / 60 % 60);
}

std::string progress_line(const StepReport& report) {
  std::string line = fmt::format("step {}/{}, epoch {}, loss {:.4f}, accuracy {:.1f}%", report.step,
                                 report.total_steps, report.epoch + 1, report.loss, 100 * report.accuracy);
  if (report.images_per_second > 0) {
    line += fmt::format(", {} images/s", with_commas(std::llround(report.images_per_second)));
  }
  if (report.step < report.total_steps) line += ", " + readable_duration(report.seconds_left) + " left";
  return line;
}

std::string live_line(const StepReport& report, size_t width) {
  std::string line = fmt::format("{}/{}  epoch {}  loss {:.4f}  accuracy {:.1f}%", report.step,
                                 report.total_steps, report.epoch + 1, report.loss, 100 * report.accuracy);
  if (report.images_per_second > 0) {
    line += fmt::format("  {} images/s", with_commas(std::llround(report.images_per_second)));
  }
  if (report.step < report.total_steps) line += "  " + readable_duration(report.seconds_left) + " left";
  return with_bar(line, static_cast<double>(report.step) / static_cast<double>(report.total_steps), width);
}

std::string with_bar(const std::string& text, double share, size_t width) {
  constexpr size_t kLeastBar = 8;
  constexpr size_t kMostBar = 30;
  constexpr size_t kFrame = 3;  // brackets and a blank
  if (width < text.size() + kFrame + kLeastBar) return text.substr(0, width);
  const size_t bar = std::min(kMostBar, width - text.size() - kFrame);
  const size_t done = std::min(bar, static_cast<size_t>(share * static_cast<double>(bar)));
  const std::string head = done < bar ? ">" : "";
  return "[" + std::string(done, '=') + head + std::string(bar - done - head.size(), ' ') + "] " + text;
}

bool LiveLine::possible() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && (kind == nullptr || std::string_view(kind) != "dumb");
}

LiveLine::LiveLine(bool terminal) : terminal_(terminal), shown_(Clock::now()) {}

LiveLine::~LiveLine() {
  if (live_) std::fputc('\n', stderr);
}

bool LiveLine::due() const {
  return Clock::now() - shown_ >=
         (terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kPlainPause));
}

size_t LiveLine::width() {
  winsize size{};
  const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  // A live line that wraps could not be renewed.
  return columns - 1;
}

void LiveLine::renew(const std::string& live, const std::string& plain) {
  show(terminal_ ? live : plain, /*stays=*/!terminal_);
}

void LiveLine::clear() {
  if (live_) std::fputs("\r\x1b[K", stderr);
  live_ = false;
}

void LiveLine::show(const std::string& line, bool stays) {
  std::string text = live_ ? "\r\x1b[K" : "";
  text += line + (stays ? "\n" : "");
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  live_ = !stays;
  shown_ = Clock::now();
}

Status Progress::on_step(const StepReport& report) {
  if (report.validation.has_value()) {
    line_.keep(
        fmt::format("step {}/{}, epoch {}, loss {:.4f}: validation loss {:.4f}, accuracy {:.2f}% ({} of {})",
                    report.step, report.total_steps, report.epoch + 1, report.loss, report.validation->loss,
                    100 * report.validation->accuracy(), with_commas(report.validation->correct),
                    with_commas(report.validation->count)));
    return {};
  }
  if (report.step == 1 || report.step == report.total_steps || line_.due())
    line_.renew(live_line(report, LiveLine::width()), progress_line(report));
  return {};
}

}  // namespace nacre
