#include "train/dataset.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "engine/file.h"
#include "engine/parallel.h"
#include "engine/shape.h"
#include "train/csv.h"
#include "train/dataset_cache.h"
#include "train/dataset_digest.h"
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

struct ListedFile {
  std::string path;
  int64_t size = 0;
  int64_t modified_seconds = 0;
  int64_t modified_nanoseconds = 0;
};

// What the file system says of the file now; `gone` words the case that it is not there.
Result<ListedFile> look_up(const std::string& path, const char* gone) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG || error == ELOOP)
      return bad(gone).at(path);
    return Status(StatusCode::kIo, path + ": " + std::strerror(error));
  }
  if (S_ISDIR(info.st_mode)) return bad("is a folder, expected an image file").at(path);
  if (!S_ISREG(info.st_mode)) return bad("is not a regular file").at(path);
  if (info.st_size == 0) return bad("is empty").at(path);
  return ListedFile{path, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

bool same_file(const ListedFile& a, const ListedFile& b) {
  return a.size == b.size && a.modified_seconds == b.modified_seconds &&
         a.modified_nanoseconds == b.modified_nanoseconds;
}

std::string root_of(const std::string& csv, const DatasetOptions& options) {
  return options.image_root.empty() ? std::filesystem::path(csv).parent_path().string() : options.image_root;
}

// Repeats the one channel of grey pictures.
std::vector<uint8_t> grey_to_rgb(std::span<const uint8_t> grey) {
  std::vector<uint8_t> rgb(grey.size() * 3);
  for (size_t i = 0; i < grey.size(); ++i) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
  return rgb;
}

// Pictures in memory: [N, height, width, channels].
struct Pictures {
  std::shared_ptr<const void> owner;
  std::span<const uint8_t> pixels;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::string what;

  [[nodiscard]] size_t bytes_each() const { return static_cast<size_t>(height * width * channels); }

  [[nodiscard]] Image at(int64_t i, int64_t wanted_channels) const {
    const std::span<const uint8_t> own = pixels.subspan(static_cast<size_t>(i) * bytes_each(), bytes_each());
    if (channels == wanted_channels) return {height, width, channels, {own.begin(), own.end()}};
    return {height, width, wanted_channels, grey_to_rgb(own)};
  }

  [[nodiscard]] Status check(const InputContract& contract) const {
    if (channels != contract.channels && !(channels == 1 && contract.channels == 3)) {
      return bad("the pictures have " + std::to_string(channels) + " channels, the network takes " +
                 std::to_string(contract.channels))
          .at(what);
    }
    if (contract.resize == ResizePolicy::kExact && (height != contract.height || width != contract.width)) {
      return bad("the pictures have " + std::to_string(height) + "x" + std::to_string(width) +
                 " pixels, the network takes exactly " + std::to_string(contract.height) + "x" +
                 std::to_string(contract.width))
          .at(what);
    }
    return {};
  }
};

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

struct Dataset::State {
  InputContract contract;
  DatasetOptions options;
  std::vector<int32_t> classes;
  std::vector<std::string> skipped;
  std::string digest;
  std::unique_ptr<ImageCache> cache;

  std::vector<ListedFile> files;  // of a CSV; otherwise there are pictures
  Pictures pictures;

  [[nodiscard]] std::string name(int64_t i) const {
    return files.empty() ? pictures.what + "[" + std::to_string(i) + "]" : files[static_cast<size_t>(i)].path;
  }

  [[nodiscard]] bool has_contract_size(const Image& image) const {
    return image.height == contract.height && image.width == contract.width;
  }

  [[nodiscard]] Result<Image> decode_file(const ListedFile& listed) const {
    NACRE_ASSIGN_OR_RETURN(const ListedFile now,
                           look_up(listed.path, "was deleted after the list was opened"));
    if (!same_file(listed, now)) return bad("was changed after the list was opened").at(listed.path);
    NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                           read_file(listed.path, options.limits.max_encoded_bytes));
    if (static_cast<int64_t>(bytes.size()) != listed.size) {
      return bad("was changed after the list was opened").at(listed.path);
    }
    Result<Image> image = decode_image(bytes, contract, options.limits);
    if (!image.ok()) return image.status().at(listed.path);
    return image;
  }

  Status read(int64_t i, float* out) const {
    const CacheEntry* cached = cache->find(i);
    if (cached != nullptr && cached->input.empty()) return convert(cached->image, i, out);
    if (cached != nullptr) {
      std::copy(cached->input.begin(), cached->input.end(), out);
      return {};
    }
    if (files.empty()) {
      const Image image = pictures.at(i, contract.channels);
      NACRE_RETURN_IF_ERROR(convert(image, i, out));
      // Pictures of the right size are in memory already.
      if (!has_contract_size(image)) keep_input(i, out);
      return {};
    }
    NACRE_ASSIGN_OR_RETURN(Image image, decode_file(files[static_cast<size_t>(i)]));
    NACRE_RETURN_IF_ERROR(convert(image, i, out));
    if (!has_contract_size(image)) {
      keep_input(i, out);
    } else if (cache->reserve(image.pixels.size())) {
      image.pixels.shrink_to_fit();
      cache->put(i, std::make_unique<const CacheEntry>(CacheEntry{std::move(image), {}}));
    }
    return {};
  }

  Status convert(const Image& image, int64_t i, float* out) const {
    const Status status = image_to_input(image, contract, out);
    return status.ok() ? status : status.at(name(i));
  }

  void keep_input(int64_t i, const float* out) const {
    const auto count = static_cast<size_t>(contract.height * contract.width * contract.channels);
    if (!cache->reserve(count * sizeof(float))) return;
    cache->put(i, std::make_unique<const CacheEntry>(CacheEntry{{}, std::vector<float>(out, out + count)}));
  }

  // Leaves out the rows whose images do not decode, as far as `bad_rows` allows.
  Status drop_undecodable(const std::string& csv, std::vector<CsvRow>& rows, BadRows& bad_rows) {
    std::vector<Status> results(rows.size());
    parallel_for(static_cast<int64_t>(rows.size()), options.threads, [&](int64_t i, int) {
      const Result<Image> image = decode_file(files[static_cast<size_t>(i)]);
      std::vector<float> input(static_cast<size_t>(contract.height * contract.width * contract.channels));
      results[static_cast<size_t>(i)] = image.ok() ? convert(*image, i, input.data()) : image.status();
    });
    size_t kept = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!results[i].ok()) {
        NACRE_RETURN_IF_ERROR(
            bad_rows.add(rows[i].line, results[i].at(csv + ":" + std::to_string(rows[i].line))));
        continue;
      }
      if (kept != i) {
        rows[kept] = std::move(rows[i]);
        files[kept] = std::move(files[i]);
      }
      ++kept;
    }
    rows.resize(kept);
    files.resize(kept);
    return {};
  }
};

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

Result<std::shared_ptr<const Dataset>> Dataset::from_csv(const std::string& path,
                                                         const InputContract& contract,
                                                         const DatasetOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxListBytes));
  BadRows bad_rows(options.skip_bad);
  NACRE_ASSIGN_OR_RETURN(CsvList list, parse_csv(as_text(bytes), path, options.labels, bad_rows));

  auto state = std::make_unique<State>();
  state->contract = contract;
  state->contract.labels = options.labels.empty() ? list.labels : options.labels;
  state->options = options;
  const std::filesystem::path root = root_of(path, options);
  std::vector<CsvRow> rows;
  for (CsvRow& row : list.rows) {
    Result<ListedFile> file = look_up((root / row.file).string(), "no such file");
    if (!file.ok()) {
      NACRE_RETURN_IF_ERROR(bad_rows.add(row.line, file.status().at(path + ":" + std::to_string(row.line))));
      continue;
    }
    state->files.push_back(std::move(*file));
    rows.push_back(std::move(row));
  }
  if (options.skip_bad > 0) {
    NACRE_RETURN_IF_ERROR(state->drop_undecodable(path, rows, bad_rows));
  }
  if (rows.empty()) return bad("no good row is left").at(path);
  state->skipped = bad_rows.messages();

  DatasetDigest digest;
  digest.add_all(state->contract.labels);
  for (size_t i = 0; i < rows.size(); ++i) {
    state->classes.push_back(rows[i].label);
    digest.add(rows[i].file);
    digest.add(rows[i].label);
    digest.add(state->files[i].size);
  }
  state->digest = digest.hex();
  return finish(std::move(state));
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
Status Dataset::read(int64_t i, float* out) const {
  return state_->read(i, out);
}

}  // namespace nacre
