#pragma once

#include <gtest/gtest.h>

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "image/encode.h"
#include "train/dataset.h"

namespace nacre {

/// A test with a folder of its own.
class DataTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nacre_data_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    ASSERT_EQ(std::filesystem::file_size(path(name)), bytes.size());
  }

  void write_png(const std::string& name, const Image& image) const {
    const auto encoded = encode_png(image);
    ASSERT_TRUE(encoded.ok()) << encoded.status().message();
    write(name, {reinterpret_cast<const char*>(encoded->data()), encoded->size()});
  }

  std::string folder_;
};

/// An image with values of its own for each seed.
inline Image pattern_image(int64_t height, int64_t width, int64_t channels, int seed) {
  Image image{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i) {
    image.pixels.push_back(static_cast<uint8_t>((i * 37 + seed * 101 + i * i % 11) % 256));
  }
  return image;
}

inline InputContract contract_of(int64_t height, int64_t width, int64_t channels) {
  InputContract contract;
  contract.height = height;
  contract.width = width;
  contract.channels = channels;
  return contract;
}

/// `count` pictures of 4x5 grey pixels in memory; picture i is filled with the value i, its class is i mod 3.
inline std::shared_ptr<const Dataset> numbered_pictures(int64_t count) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < count; ++i) {
    pixels.insert(pixels.end(), 20, static_cast<uint8_t>(i));
    classes.push_back(static_cast<int32_t>(i % 3));
  }
  auto contract = contract_of(4, 5, 1);
  contract.scale = 1.0F;
  auto data = Dataset::from_pixels(pixels, 4, 5, 1, classes, {"a", "b", "c"}, contract);
  return data.ok() ? *data : nullptr;
}

/// The bytes of an IDX file of unsigned bytes with these extents.
inline std::string idx_bytes(const std::vector<uint32_t>& dims, std::string_view data) {
  std::string bytes = {0, 0, 8, static_cast<char>(dims.size())};
  for (const uint32_t extent : dims) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift & 255U);
  }
  bytes += data;
  return bytes;
}

inline std::string gzip(std::string_view data) {
  z_stream z{};
  if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string out(deflateBound(&z, data.size()) + 32, '\0');
  std::string in(data);
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

}  // namespace nacre
