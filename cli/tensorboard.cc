#include "cli/tensorboard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "cli/eval_report.h"
#include "image/encode.h"

namespace nacre {
namespace {

constexpr int64_t kSampleImages = 8;

/// Network input [H, W, C] as a picture: 0 is black, 1 white.
Image picture_of(const InputContract& contract, const std::vector<float>& input) {
  Image image{contract.height, contract.width, contract.channels, {}};
  // What the contract scales is scaled back, so that any contract's image is seen.
  const float levels = 1.0F / contract.scale;
  image.pixels.reserve(input.size());
  for (const float x : input) {
    image.pixels.push_back(static_cast<uint8_t>(std::lround(std::clamp(x * levels, 0.0F, 255.0F))));
  }
  return image;
}

/// TensorBoard shows markdown; indented or fenced text stays as it is.
std::string fenced(const std::string& text) {
  return "```\n" + text + (text.ends_with('\n') ? "```\n" : "\n```\n");
}

}  // namespace

std::span<const EnumName<EventDetail>> enum_names(EventDetail) {
  static constexpr std::array<EnumName<EventDetail>, 3> kNames{
      {{EventDetail::kNone, "none"}, {EventDetail::kScalars, "scalars"}, {EventDetail::kAll, "all"}}};
  return kNames;
}

Result<std::unique_ptr<TensorBoardLog>> TensorBoardLog::open(TensorBoardSource source) {
  std::unique_ptr<TensorBoardLog> log(new TensorBoardLog(std::move(source)));
  if (log->source_.detail != EventDetail::kNone) NACRE_RETURN_IF_ERROR(log->begin());
  return log;
}

Status TensorBoardLog::begin() {
  const auto first = static_cast<int64_t>(source_.first_step);
  NACRE_ASSIGN_OR_RETURN(train_, EventWriter::open(source_.train_folder, first));
  if (first > 0) return {};
  train_->add_text("config", 0, fenced(source_.config));
  return source_.detail == EventDetail::kAll ? add_samples() : Status();
}

Status TensorBoardLog::add_samples() {
  const Dataset& data = *source_.training;
  const InputContract& contract = data.contract();
  const int64_t count = std::min(kSampleImages, data.size());
  std::vector<std::vector<std::byte>> plain;
  std::vector<std::vector<std::byte>> changed;
  std::vector<float> input(static_cast<size_t>(data.image_floats()));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sample = i * data.size() / count;  // lists are often sorted by class
    NACRE_RETURN_IF_ERROR(data.read(sample, input.data()));
    NACRE_ASSIGN_OR_RETURN(plain.emplace_back(), encode_png(picture_of(contract, input)));
    if (!source_.augmentation.any()) continue;
    augment(source_.augmentation, augment_stream(source_.seed, 0, sample), input.data(), contract.height,
            contract.width, contract.channels);
    NACRE_ASSIGN_OR_RETURN(changed.emplace_back(), encode_png(picture_of(contract, input)));
  }
  train_->add_images("images", 0, contract.width, contract.height, plain);
  if (!changed.empty()) train_->add_images("images_augmented", 0, contract.width, contract.height, changed);
  return {};
}

Status TensorBoardLog::on_step(const StepReport& report) {
  if (train_ == nullptr) return {};
  train_->add_scalar("batch_loss", report.step, report.loss);
  train_->add_scalar("batch_accuracy", report.step, report.accuracy);
  train_->add_scalar("batch_learning_rate", report.step, report.learning_rate);
  train_->add_scalar("batch_images_per_second", report.step, report.images_per_second);
  ++steps_;
  loss_ += report.loss;
  accuracy_ += report.accuracy;
  if (report.validation.has_value()) NACRE_RETURN_IF_ERROR(add_validation(report));
  if (!report.last_in_epoch) return train_->flush_when_due();
  train_->add_scalar("epoch_loss", report.epoch, loss_ / static_cast<double>(steps_));
  train_->add_scalar("epoch_accuracy", report.epoch, accuracy_ / static_cast<double>(steps_));
  train_->add_scalar("epoch_learning_rate", report.epoch, report.learning_rate);
  steps_ = 0;
  loss_ = accuracy_ = 0;
  return train_->flush();
}

Status TensorBoardLog::add_validation(const StepReport& report) {
  if (validation_ == nullptr) {
    NACRE_ASSIGN_OR_RETURN(
        validation_, EventWriter::open(source_.validation_folder, static_cast<int64_t>(source_.first_step)));
  }
  const Evaluation& evaluation = *report.validation;
  validation_->add_scalar("evaluation_loss_vs_iterations", report.step, evaluation.loss);
  validation_->add_scalar("evaluation_accuracy_vs_iterations", report.step, evaluation.accuracy());
  if (report.last_in_epoch) {
    validation_->add_scalar("epoch_loss", report.epoch, evaluation.loss);
    validation_->add_scalar("epoch_accuracy", report.epoch, evaluation.accuracy());
  }
  validation_->add_text("evaluation", report.step, fenced(eval_text(evaluation, source_.training->labels())));
  if (evaluation.confusion.classes() <= kMaxPictureClasses) {
    const Image picture = confusion_picture(evaluation.confusion);
    NACRE_ASSIGN_OR_RETURN(std::vector<std::byte> png, encode_png(picture));
    validation_->add_images("confusion_matrix", report.step, picture.width, picture.height,
                            std::array{std::move(png)});
  }
  return validation_->flush();
}

Status TensorBoardLog::on_checkpoint(const Checkpoint& checkpoint, bool /*best*/) {
  if (train_ == nullptr) return {};
  if (source_.detail == EventDetail::kAll) {
    for (const auto& [name, tensor] : checkpoint.variables.tensors()) {
      if (checkpoint.variables.is_slot(name)) continue;
      train_->add_histogram(name + "/histogram", static_cast<int64_t>(checkpoint.state.step),
                            std::span(tensor.data(), static_cast<size_t>(tensor.size())));
    }
  }
  return train_->flush();
}

Image confusion_picture(const Confusion& confusion) {
  constexpr size_t kSide = 512;  // pixels, about
  constexpr std::array<double, 3> kNone{247, 251, 255};
  constexpr std::array<double, 3> kWhole{8, 48, 107};
  const size_t classes = confusion.classes();
  std::vector<int64_t> totals(classes);
  for (const auto& [pair, n] : confusion.cells()) totals[pair.first] += n;
  const size_t cell = std::max<size_t>(1, kSide / classes);
  const auto side = static_cast<int64_t>(cell * classes);
  Image image{side, side, 3, std::vector<uint8_t>(cell * classes * cell * classes * 3)};
  for (size_t row = 0; row < classes; ++row) {
    const auto total = static_cast<double>(totals[row]);
    for (size_t column = 0; column < classes; ++column) {
      const double share = total > 0 ? static_cast<double>(confusion.at(row, column)) / total : 0;
      for (size_t y = row * cell; y < (row + 1) * cell; ++y) {
        for (size_t x = column * cell; x < (column + 1) * cell; ++x) {
          uint8_t* pixel = &image.pixels[(y * cell * classes + x) * 3];
          for (size_t c = 0; c < 3; ++c) {
            pixel[c] = static_cast<uint8_t>(std::lround(kNone[c] + (kWhole[c] - kNone[c]) * share));
          }
        }
      }
    }
  }
  return image;
}

}  // namespace nacre
