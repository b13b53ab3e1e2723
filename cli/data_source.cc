#include "cli/data_source.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "cli/shell_word.h"
#include "engine/file.h"
#include "image/file_type.h"
#include "train/class_folders.h"
#include "train/csv.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLabelBytes = size_t{16} << 20;

/// A folder whose only sub-folders are `train` and `val` (or another name of the same) holds data sets, not
/// classes: a network would learn to tell the one from the other.
Status check_not_splits(const std::string& folder, const std::vector<std::string>& names,
                        bool has_validation) {
  constexpr std::array<std::string_view, 2> kTrain{"train", "training"};
  constexpr std::array<std::string_view, 5> kHeldOut{"val", "valid", "validation", "test", "testing"};
  const auto is_one_of = [](const auto& known, std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::find(known.begin(), known.end(), name) != known.end();
  };
  std::string train;
  std::string held_out;
  for (const std::string& name : names) {
    if (is_one_of(kTrain, name)) {
      train = name;
    } else if (!is_one_of(kHeldOut, name)) {
      return {};
    } else if (held_out.empty()) {
      held_out = name;
    }
  }
  if (train.empty() || held_out.empty()) return {};
  const fs::path path(folder);
  const std::string validation = shell_word((path / held_out).string());
  const std::string training = shell_word((path / train).string());
  return {StatusCode::kBadData, folder + ": holds data sets, not classes; give --data " +
                                    (has_validation ? training + " --validation " + validation : validation)};
}

/// Refuses an image, or another file of a known kind, given in place of a list of images.
Status check_may_be_list(const std::string& path) {
  constexpr size_t kHead = 512;
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> head, read_file_head(path, kHead));
  const DetectedType detected = detect_file_type(head);
  // A list may begin with "BM" as well as a bitmap does.
  const bool is_binary = std::any_of(head.begin(), head.end(), [](std::byte b) {
    return b < std::byte{0x20} && b != std::byte{'\t'} && b != std::byte{'\r'} && b != std::byte{'\n'};
  });
  if (!is_binary || detected.name.empty()) return {};
  return {StatusCode::kBadData,
          path + ": is " + std::string(detected.name) + ", expected a folder or a CSV list"};
}

/// A list of images that stands for a data set, and how much memory its decoded images may take.
Result<std::shared_ptr<const Dataset>> open_one(const std::string& path, IdxSplit preferred,
                                                const DataRequest& request, const InputContract& contract,
                                                std::vector<std::string> labels, size_t cache_bytes) {
  DatasetOptions options;
  options.image_root = request.image_root;
  options.labels = std::move(labels);
  options.skip_bad = request.skip_bad;
  options.skip_option = "--skip-bad";
  options.cache_bytes = cache_bytes;
  options.threads = request.threads;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return Status(StatusCode::kIo, path + ": " + (error ? error.message() : std::strerror(ENOENT)));
  }
  if (!fs::is_directory(status)) {
    if (fs::is_regular_file(status)) NACRE_RETURN_IF_ERROR(check_may_be_list(path));
    return Dataset::from_csv(path, contract, options);
  }
  const IdxSplit other = preferred == IdxSplit::kTrain ? IdxSplit::kTest : IdxSplit::kTrain;
  if (Dataset::has_idx(path, preferred)) return Dataset::from_idx(path, preferred, contract, options);
  if (preferred == IdxSplit::kTest && Dataset::has_idx(path, other)) {
    return Dataset::from_idx(path, other, contract, options);
  }
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, class_folder_names(path));
  if (!names.empty()) {
    NACRE_RETURN_IF_ERROR(check_not_splits(path, names, request.has_validation));
    return Dataset::from_folder(path, contract, options);
  }
  return Status(
      StatusCode::kBadData,
      path +
          ": is a folder without sub-folders or IDX files; expected a sub-folder of images for each "
          "class, or train-images-idx3-ubyte and train-labels-idx1-ubyte (plain or .gz), or a CSV "
          "list in place of the folder");
}

size_t bytes_of(int64_t mib) {
  return static_cast<size_t>(mib) << 20;
}

}  // namespace

std::optional<double> validation_fraction(const std::string& text) {
  double fraction = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fraction);
  const bool is_number = error != std::errc::invalid_argument && end == text.data() + text.size();
  return is_number ? std::optional<double>(fraction) : std::nullopt;
}

std::string csv_of_files(const Dataset& data) {
  std::error_code error;
  // All are files, or none is.
  if (!fs::is_regular_file(data.name(0), error)) return "";
  std::string lines;
  for (int64_t i = 0; i < data.size(); ++i) {
    const fs::path path = fs::absolute(data.name(i), error).lexically_normal();
    if (error || !can_be_listed(path.string())) return "";
    const int32_t label = data.label(i);
    lines += csv_line(path.string(), data.labels()[static_cast<size_t>(label)], label);
  }
  return lines;
}

Result<std::vector<std::string>> read_labels(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxLabelBytes));
  return parse_labels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

Result<TrainingData> open_training_data(const DataRequest& request, const InputContract& contract) {
  TrainingData data;
  if (const auto fraction = validation_fraction(request.validation); fraction.has_value()) {
    NACRE_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> whole,
                           open_one(request.data, IdxSplit::kTrain, request, contract, request.labels,
                                    bytes_of(request.cache_mib)));
    Result<DatasetParts> parts = Dataset::split(whole, *fraction, request.seed);
    if (!parts.ok()) return parts.status().at(request.data);
    data.training = parts->training;
    data.validation = parts->validation;
    return data;
  }
  std::error_code unused;
  const bool has_own =
      fs::is_directory(request.data, unused) && Dataset::has_idx(request.data, IdxSplit::kTest);
  const std::string validation = request.validation.empty() && has_own ? request.data : request.validation;
  // Validation sets are smaller as a rule.
  const size_t cache = bytes_of(request.cache_mib);
  const size_t validation_cache = validation.empty() ? 0 : cache / 4;
  NACRE_ASSIGN_OR_RETURN(data.training, open_one(request.data, IdxSplit::kTrain, request, contract,
                                                 request.labels, cache - validation_cache));
  if (!validation.empty()) {
    NACRE_ASSIGN_OR_RETURN(data.validation, open_one(validation, IdxSplit::kTest, request, contract,
                                                     data.training->labels(), validation_cache));
  }
  return data;
}

Result<std::shared_ptr<const Dataset>> open_evaluation_data(const DataRequest& request,
                                                            const InputContract& contract) {
  return open_one(request.data, IdxSplit::kTest, request, contract, request.labels,
                  bytes_of(request.cache_mib));
}

}  // namespace nacre
