#include "cli/metrics.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace nacre {
namespace {

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
  NACRE_ASSIGN_OR_RETURN(AppendFile file, AppendFile::open(path, AppendFile::Open::kGoOn));
  NACRE_RETURN_IF_ERROR(file.truncate(bytes_up_to(path, step)));
  return std::unique_ptr<MetricsLog>(new MetricsLog(std::move(file)));
}

Status MetricsLog::on_step(const StepReport& report) {
  file_.add(metrics_line(report));
  return report.validation.has_value() ? file_.flush() : file_.flush_when_due();
}

Status MetricsLog::on_checkpoint(const Checkpoint& /*checkpoint*/, bool /*best*/) {
  return file_.flush();
}

}  // namespace nacre
