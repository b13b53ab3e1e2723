// Writes one split of an IDX data set (Fashion-MNIST) as image files with the CSV list that `nacre train
// --data` reads.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/file.h"
#include "image/decode.h"
#include "image/encode.h"
#include "train/csv.h"
#include "train/idx.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLabelsBytes = size_t{1} << 20;
constexpr int kMaxSide = 4096;

struct Options {
  std::string data;
  std::string split = "train";
  std::string out;
  std::string labels;
  std::string format = "jpeg";
  int64_t count = std::numeric_limits<int64_t>::max();
  int size = 96;
  int channels = 3;
  int quality = 95;
};

/// Image `index` of the set with `channels` channels; grey becomes colour by repetition.
Result<Image> stored_image(const IdxArray& images, int64_t index, int64_t channels) {
  const int64_t stored = images.dims.size() == 4 ? images.dims[3] : 1;
  if (stored != channels && stored != 1)
    return Status(StatusCode::kUnsupported,
                  "the images are in colour: use --channels " + std::to_string(stored));
  Image image{.height = images.dims[1], .width = images.dims[2], .channels = channels, .pixels = {}};
  const auto bytes = static_cast<size_t>(image.height * image.width * stored);
  const std::span<const std::byte> source = images.bytes().subspan(static_cast<size_t>(index) * bytes, bytes);
  const int64_t copies = channels / stored;
  image.pixels.reserve(bytes * static_cast<size_t>(copies));
  for (const std::byte level : source)
    image.pixels.insert(image.pixels.end(), static_cast<size_t>(copies), std::to_integer<uint8_t>(level));
  return image;
}

/// The image at `size` x `size`, by the same resize that training and prediction use.
Result<Image> resized(const Image& image, int size) {
  if (size == 0) return image;
  InputContract contract;
  contract.height = size;
  contract.width = size;
  contract.channels = image.channels;
  contract.scale = 1.0F;
  std::vector<float> levels(static_cast<size_t>(size) * static_cast<size_t>(size) *
                            static_cast<size_t>(image.channels));
  NACRE_RETURN_IF_ERROR(image_to_input(image, contract, levels.data()));
  Image result{.height = size, .width = size, .channels = image.channels, .pixels = {}};
  result.pixels.reserve(levels.size());
  for (const float level : levels)
    result.pixels.push_back(static_cast<uint8_t>(std::lround(std::clamp(level, 0.0F, 255.0F))));
  return result;
}

/// A class name in a form that is good in a file name: "T-shirt/top" gives "t-shirt-top".
std::string file_part(std::string_view label) {
  std::string part;
  for (const char c : label) {
    const auto byte = static_cast<unsigned char>(c);
    part += std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  return part;
}

Result<std::vector<std::string>> label_names(const Options& options) {
  if (options.labels.empty()) return std::vector<std::string>{};
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(options.labels, kMaxLabelsBytes));
  return parse_labels(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                      options.labels);
}

Status write_file(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  return file ? Status() : Status(StatusCode::kIo, path.string() + ": cannot be written");
}

Status run(const Options& options) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, label_names(options));
  NACRE_ASSIGN_OR_RETURN(const IdxPair pair,
                         read_idx_pair(options.data, options.split == "test" ? "t10k" : "train"));
  const std::span<const std::byte> labels = pair.labels.bytes();
  const int64_t count = std::min(options.count, pair.images.dims[0]);

  const fs::path out = options.out;
  const fs::path list = out / (options.split + ".csv");
  std::error_code error;
  if (fs::exists(list, error)) return {StatusCode::kIo, list.string() + ": is there already"};
  fs::create_directories(out / options.split, error);
  if (error) return {StatusCode::kIo, out.string() + ": " + error.message()};

  std::string csv;
  for (int64_t i = 0; i < count; ++i) {
    const auto number = std::to_integer<size_t>(labels[static_cast<size_t>(i)]);
    if (!names.empty() && number >= names.size())
      return {StatusCode::kBadData, pair.labels_path + ": image " + std::to_string(i) + " has label " +
                                        std::to_string(number) + ", but " + options.labels + " names only " +
                                        std::to_string(names.size()) + " classes"};
    const std::string name = names.empty() ? std::to_string(number) : names[number];
    NACRE_ASSIGN_OR_RETURN(const Image stored, stored_image(pair.images, i, options.channels));
    NACRE_ASSIGN_OR_RETURN(const Image image, resized(stored, options.size));
    const bool png = options.format == "png";
    NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> encoded,
                           png ? encode_png(image) : encode_jpeg(image, options.quality));
    std::string serial = std::to_string(i);
    serial.insert(0, serial.size() < 5 ? 5 - serial.size() : 0, '0');
    const std::string file = options.split + "/" + serial + "-" + file_part(name) + (png ? ".png" : ".jpg");
    NACRE_RETURN_IF_ERROR(write_file(out / file, encoded));
    csv += csv_line(file, name, static_cast<int64_t>(number));
  }
  NACRE_RETURN_IF_ERROR(write_file(list, std::as_bytes(std::span(csv))));
  std::printf("%lld images and their list in %s\n", static_cast<long long>(count), list.c_str());
  return {};
}

}  // namespace
}  // namespace nacre

int main(int argc, char** argv) try {
  nacre::Options options;
  CLI::App app(
      "Writes one split of an IDX data set as image files, and OUT/SPLIT.csv for nacre train --data");
  app.add_option("--data", options.data, "Folder of IDX files (train-images-idx3-ubyte[.gz], ...)")
      ->required();
  app.add_option("--split", options.split, "train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  app.add_option("--out", options.out, "Folder to write into")->required();
  app.add_option("--labels", options.labels, "File of class names, one a line (default: the numbers)");
  app.add_option("--count", options.count, "How many images, from the first (default: all)")
      ->check(CLI::PositiveNumber);
  app.add_option("--size", options.size, "Height and width in pixels; 0 keeps the stored size")
      ->check(CLI::Range(0, nacre::kMaxSide))
      ->capture_default_str();
  app.add_option("--channels", options.channels, "1 (grey) or 3 (RGB)")
      ->check(CLI::IsMember({1, 3}))
      ->capture_default_str();
  app.add_option("--format", options.format, "jpeg or png")
      ->check(CLI::IsMember({"jpeg", "png"}))
      ->capture_default_str();
  app.add_option("--quality", options.quality, "Of JPEG")->check(CLI::Range(1, 100))->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(nacre::StatusCode::kUsage);
  }
  const nacre::Status status = nacre::run(options);
  if (!status.ok()) std::fprintf(stderr, "idx_to_images: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
} catch (const std::exception& error) {
  std::fprintf(stderr, "idx_to_images: %s\n", error.what());
  return static_cast<int>(nacre::StatusCode::kInternal);
}
