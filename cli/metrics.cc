#include "cli/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace nacre {
namespace {

Status io_error(const std::string& path) {
  return {StatusCode::kIo, path + ": " + std::generic_category().message(errno)};
}

/// How many bytes of the file are whole lines of steps up to `step`.
int64_t bytes_up_to(const std::string& path, uint64_t step) {
  std::ifstream file(path, std::ios::binary);
  int64_t bytes = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object()) break;
    const auto number = parsed.find("step");
    if (number == parsed.end() || !number->is_number_unsigned() || number->get<uint64_t>() > step) break;
    bytes += static_cast<int64_t>(line.size()) + 1;
  }
  return bytes;
}

}  // namespace

std::string metrics_line(const StepReport& report) {
  nlohmann::ordered_json line;
  line["step"] = report.step;
  line["epoch"] = report.epoch + 1;
  line["loss"] = report.loss;
  line["accuracy"] = report.accuracy;
  if (report.validation.has_value()) {
    line["validation_loss"] = report.validation->loss;
    line["validation_accuracy"] = report.validation->accuracy();
  }
  line["images_per_second"] = report.images_per_second;
  return line.dump() + "\n";
}

Result<std::unique_ptr<MetricsLog>> MetricsLog::open(const std::string& path, uint64_t step) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return io_error(path);
  std::unique_ptr<MetricsLog> log(new MetricsLog(path, fd));
  if (::ftruncate(fd, bytes_up_to(path, step)) != 0) return io_error(path);
  return log;
}

MetricsLog::~MetricsLog() {
  // There is nobody left to tell of an error; every checkpoint has flushed what matters.
  static_cast<void>(flush().ok());
  ::close(fd_);
}

Status MetricsLog::on_step(const StepReport& report) {
  pending_ += metrics_line(report);
  const bool due = std::chrono::steady_clock::now() - flushed_ > std::chrono::seconds(1);
  return due || report.validation.has_value() ? flush() : Status();
}

Status MetricsLog::on_checkpoint(const Checkpoint& /*checkpoint*/, bool /*best*/) {
  return flush();
}

Status MetricsLog::flush() {
  size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t n = ::write(fd_, pending_.data() + done, pending_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      pending_.erase(0, done);
      return io_error(path_);
    }
    done += static_cast<size_t>(n);
  }
  pending_.clear();
  flushed_ = std::chrono::steady_clock::now();
  return {};
}

}  // namespace nacre
