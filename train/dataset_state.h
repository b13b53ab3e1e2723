#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "train/csv.h"
#include "train/dataset.h"
#include "train/dataset_cache.h"
#include "train/listed_file.h"

namespace nacre {

/// Pictures in memory: [N, height, width, channels].
struct Pictures {
  std::shared_ptr<const void> owner;
  std::span<const uint8_t> pixels;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::string what;

  [[nodiscard]] size_t bytes_each() const { return static_cast<size_t>(height * width * channels); }
  [[nodiscard]] std::span<const uint8_t> pixels_of(int64_t i) const {
    return pixels.subspan(static_cast<size_t>(i) * bytes_each(), bytes_each());
  }
  /// Picture i with 1 or 3 channels; grey becomes colour by repeating its channel.
  [[nodiscard]] Image at(int64_t i, int64_t wanted_channels) const;
  /// kBadData when they cannot serve `contract`.
  [[nodiscard]] Status check(const InputContract& contract) const;
};

/// What a Dataset is made of: files, or pictures in memory, or some members of another set.
struct Dataset::State {
  InputContract contract;
  DatasetOptions options;
  std::vector<int32_t> classes;
  std::vector<std::string> skipped;
  std::string digest;
  std::unique_ptr<ImageCache> cache;

  std::vector<ListedFile> files;
  Pictures pictures;
  std::shared_ptr<const Dataset> whole;
  std::vector<int64_t> members;  ///< numbers in `whole`

  [[nodiscard]] std::string name(int64_t i) const;
  [[nodiscard]] bool in_memory() const;
  Status read(int64_t i, float* out) const;

  /// Leaves out what does not decode, as far as `bad_rows` allows.
  Status drop_undecodable(std::vector<ListedImage>& images, BadRows& bad_rows) const;
  /// Takes the images as files and classes, and their digest.
  void take(std::vector<ListedImage> images);

 private:
  [[nodiscard]] bool has_contract_size(int64_t height, int64_t width) const;
  /// An error about a file, with the option that leaves such files out when it was not given.
  [[nodiscard]] Status with_hint(const Status& error) const;
  [[nodiscard]] Result<Image> decode_file(const ListedFile& listed) const;
  [[nodiscard]] Status convert(const Image& image, const std::string& name, float* out) const;
  void keep_input(int64_t i, const float* out) const;
};

}  // namespace nacre
