#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/console.h"

namespace nacre {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTerminalPause = std::chrono::milliseconds(100);
constexpr auto kPlainPause = std::chrono::seconds(5);

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

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

Progress::Progress(bool terminal) : terminal_(terminal), shown_(Clock::now()) {}

Progress::~Progress() {
  if (live_) std::fputc('\n', stderr);
}

Status Progress::on_step(const StepReport& report) {
  if (report.validation.has_value()) {
    show(fmt::format("step {}/{}, epoch {}, loss {:.4f}: validation loss {:.4f}, accuracy {:.2f}% ({} of {})",
                     report.step, report.total_steps, report.epoch + 1, report.loss, report.validation->loss,
                     100 * report.validation->accuracy(), with_commas(report.validation->correct),
                     with_commas(report.validation->count)),
         /*stays=*/true);
    return {};
  }
  const auto pause = terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kPlainPause);
  if (report.step == 1 || Clock::now() - shown_ >= pause) show(progress_line(report), /*stays=*/!terminal_);
  return {};
}

void Progress::show(const std::string& line, bool stays) {
  std::string text = live_ ? "\r\x1b[K" : "";
  // A live line that wraps could not be renewed.
  text += stays ? line + "\n" : line.substr(0, terminal_width() - 1);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  live_ = !stays;
  shown_ = Clock::now();
}

}  // namespace nacre
