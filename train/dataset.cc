#include "train/dataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <new>
#include <span>
#include <utility>

#include "engine/file.h"
#include "engine/shape.h"
#include "train/class_folders.h"
#include "train/csv.h"
#include "train/dataset_digest.h"
#include "train/dataset_state.h"
#include "train/idx.h"

namespace nacre {
namespace {

constexpr size_t kMaxListBytes = size_t{1} << 30;
constexpr size_t kMaxLabelsBytes = size_t{64} << 20;

Status bad(std::string reason) {
  return {StatusCode::kBadData, std::move(reason)};
}

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string root_of(const std::string& csv, const DatasetOptions& options) {
  return options.image_root.empty() ? std::filesystem::path(csv).parent_path().string() : options.image_root;
}

const char* prefix_of(IdxSplit split) {
  return split == IdxSplit::kTrain ? "train" : "t10k";
}

Result<std::vector<std::string>> idx_labels(const std::string& folder, const DatasetOptions& options,
                                            int32_t largest) {
  if (!options.labels.empty()) return options.labels;
  const std::string path = (std::filesystem::path(folder) / "labels.txt").string();
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxLabelsBytes));
    return parse_labels(as_text(bytes), path);
  }
  std::vector<std::string> names;
  for (int32_t i = 0; i <= largest; ++i) names.push_back(std::to_string(i));
  return names;
}

Status check_classes(const std::vector<int32_t>& classes, size_t count, const std::string& what) {
  for (size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] < 0 || static_cast<size_t>(classes[i]) >= count) {
      return bad("label " + std::to_string(classes[i]) + ", expected 0 to " + std::to_string(count - 1) +
                 " for " + std::to_string(count) + " classes")
          .at(what + "[" + std::to_string(i) + "]");
    }
  }
  return {};
}

}  // namespace

Dataset::Dataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
Dataset::~Dataset() = default;

Result<std::shared_ptr<const Dataset>> Dataset::finish(std::unique_ptr<State> state) {
  state->cache =
      std::make_unique<ImageCache>(static_cast<int64_t>(state->classes.size()), state->options.cache_bytes);
  return std::shared_ptr<const Dataset>(new Dataset(std::move(state)));
}

Result<std::shared_ptr<const Dataset>> Dataset::finish_pictures(std::unique_ptr<State> state) {
  const Pictures& pictures = state->pictures;
  NACRE_RETURN_IF_ERROR(pictures.check(state->contract));
  NACRE_RETURN_IF_ERROR(check_classes(state->classes, state->contract.labels.size(), pictures.what));
  DatasetDigest digest;
  digest.add_all(state->contract.labels);
  for (const int64_t extent : {pictures.height, pictures.width, pictures.channels}) digest.add(extent);
  for (const int32_t label : state->classes) digest.add(label);
  digest.add_bytes(pictures.pixels.data(), pictures.pixels.size());
  state->digest = digest.hex();
  return finish(std::move(state));
}

Result<std::shared_ptr<const Dataset>> Dataset::finish_files(std::unique_ptr<State> state,
                                                             std::vector<ListedImage> images,
                                                             BadRows& bad_rows, const std::string& what) {
  if (state->options.skip_bad > 0) NACRE_RETURN_IF_ERROR(state->drop_undecodable(images, bad_rows));
  NACRE_RETURN_IF_ERROR(bad_rows.check());
  if (images.empty()) return bad("no good image is left").at(what);
  state->skipped = bad_rows.messages();
  state->take(std::move(images));
  return finish(std::move(state));
}

Result<std::shared_ptr<const Dataset>> Dataset::from_csv(const std::string& path,
                                                         const InputContract& contract,
                                                         const DatasetOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxListBytes));
  BadRows bad_rows(options.skip_bad, "line", options.skip_option);
  NACRE_ASSIGN_OR_RETURN(CsvList list, parse_csv(as_text(bytes), path, options.labels, bad_rows));

  auto state = std::make_unique<State>();
  state->contract = contract;
  state->contract.labels = options.labels.empty() ? list.labels : options.labels;
  state->options = options;
  const std::filesystem::path root = root_of(path, options);
  std::vector<ListedImage> images;
  for (CsvRow& row : list.rows) {
    const std::string where = path + ":" + std::to_string(row.line);
    Result<ListedFile> file = look_up((root / row.file).string(), "no such file");
    if (file.ok()) {
      images.push_back({row.line, where, std::move(row.file), row.label, std::move(*file)});
    } else {
      NACRE_RETURN_IF_ERROR(bad_rows.add(row.line, file.status().at(where)));
    }
  }
  return finish_files(std::move(state), std::move(images), bad_rows, path);
}

Result<std::shared_ptr<const Dataset>> Dataset::from_folder(const std::string& folder,
                                                            const InputContract& contract,
                                                            const DatasetOptions& options) {
  BadRows bad_rows(options.skip_bad, "file", options.skip_option);
  NACRE_ASSIGN_OR_RETURN(ClassFolders folders, list_class_folders(folder, options.labels, bad_rows));
  auto state = std::make_unique<State>();
  state->contract = contract;
  state->contract.labels = std::move(folders.labels);
  state->options = options;
  return finish_files(std::move(state), std::move(folders.images), bad_rows, folder);
}

Result<std::shared_ptr<const Dataset>> Dataset::from_pixels(
    std::vector<uint8_t> pixels, int64_t height, int64_t width, int64_t channels,
    std::vector<int32_t> classes, std::vector<std::string> names, const InputContract& contract,
    const std::string& what, const DatasetOptions& options) {
  const auto count = static_cast<int64_t>(classes.size());
  const std::array<int64_t, 4> dims = {count, height, width, channels};
  Result<Shape> shape = Shape::make(dims);
  if (!shape.ok() || count == 0 || names.empty() ||
      shape->num_elements() != static_cast<int64_t>(pixels.size())) {
    return bad("expected pixels [" + std::to_string(count) + ", " + std::to_string(height) + ", " +
               std::to_string(width) + ", " + std::to_string(channels) + "] and class names, found " +
               std::to_string(pixels.size()) + " pixels and " + std::to_string(names.size()) + " names")
        .at(what);
  }
  auto state = std::make_unique<State>();
  state->contract = contract;
  state->contract.labels = std::move(names);
  state->options = options;
  state->classes = std::move(classes);
  auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(pixels));
  state->pictures = {owner, *owner, height, width, channels, what};
  return finish_pictures(std::move(state));
}

Result<std::shared_ptr<const Dataset>> Dataset::from_idx(const std::string& folder, IdxSplit split,
                                                         const InputContract& contract,
                                                         const DatasetOptions& options) {
  NACRE_ASSIGN_OR_RETURN(IdxPair pair, read_idx_pair(folder, prefix_of(split)));
  auto state = std::make_unique<State>();
  state->contract = contract;
  state->options = options;
  int32_t largest = 0;
  for (const std::byte label : pair.labels.bytes()) {
    state->classes.push_back(std::to_integer<int32_t>(label));
    largest = std::max(largest, state->classes.back());
  }
  NACRE_ASSIGN_OR_RETURN(state->contract.labels, idx_labels(folder, options, largest));
  NACRE_RETURN_IF_ERROR(check_classes(state->classes, state->contract.labels.size(), pair.labels_path));
  auto owner = std::make_shared<const IdxArray>(std::move(pair.images));
  const std::vector<int64_t>& dims = owner->dims;
  const std::span<const std::byte> bytes = owner->bytes();
  const std::span<const uint8_t> pixels(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  state->pictures = {owner, pixels, dims[1], dims[2], dims.size() == 4 ? dims[3] : 1, pair.images_path};
  return finish_pictures(std::move(state));
}

bool Dataset::has_idx(const std::string& folder, IdxSplit split) {
  return !find_idx_images(folder, prefix_of(split)).empty();
}

int64_t Dataset::size() const {
  return static_cast<int64_t>(state_->classes.size());
}
const std::vector<std::string>& Dataset::labels() const {
  return state_->contract.labels;
}
int32_t Dataset::label(int64_t i) const {
  return state_->classes[static_cast<size_t>(i)];
}
std::vector<int64_t> Dataset::class_counts() const {
  std::vector<int64_t> counts(labels().size(), 0);
  for (const int32_t label : state_->classes) ++counts[static_cast<size_t>(label)];
  return counts;
}
std::string Dataset::name(int64_t i) const {
  return state_->name(i);
}
const InputContract& Dataset::contract() const {
  return state_->contract;
}
const std::vector<std::string>& Dataset::skipped() const {
  return state_->skipped;
}
const std::string& Dataset::digest() const {
  return state_->digest;
}
int64_t Dataset::image_floats() const {
  return state_->contract.height * state_->contract.width * state_->contract.channels;
}
bool Dataset::in_memory() const {
  return state_->in_memory();
}
Status Dataset::read(int64_t i, float* out) const {
  try {
    return state_->read(i, out);
  } catch (const std::bad_alloc&) {
    // A thread of a loader's cannot pass it on.
    return Status(StatusCode::kLimit, name(i) + ": out of memory");
  }
}

}  // namespace nacre
