// Pictures from encoded bytes to network input: decoding alone, and decoding with scaling and resizing, in
// GB/s of pixels and in pictures a second, on one thread as loaders run it; and whole files from the disk's
// cache.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "image/decode.h"
#include "image/encode.h"

namespace nacre {
namespace {

/// A picture with edges, gradients and some noise, as photos have.
Image photo(int64_t height, int64_t width) {
  Image image;
  image.height = height;
  image.width = width;
  image.channels = 3;
  uint32_t state = 1;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        state = state * 1664525U + 1013904223U;
        const double wave =
            std::sin(static_cast<double>(x) / (7 + c)) * std::cos(static_cast<double>(y) / 11);
        const double value = 128 + 80 * wave + static_cast<double>(state >> 28);
        image.pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return image;
}

enum class Format { kJpeg, kPng };

std::vector<std::byte> encoded(Format format, int64_t height, int64_t width) {
  const Image image = photo(height, width);
  return (format == Format::kJpeg ? encode_jpeg(image, 90) : encode_png(image)).value();
}

InputContract contract() {
  InputContract contract;
  contract.height = 96;
  contract.width = 96;
  contract.channels = 3;
  return contract;
}

void count(benchmark::State& state, int64_t height, int64_t width) {
  constexpr auto kRate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["images/s"] = benchmark::Counter(1, kRate);
  state.counters["GB/s"] = benchmark::Counter(1e-9 * static_cast<double>(height * width * 3), kRate);
}

void decode(benchmark::State& state, Format format, int64_t height, int64_t width, bool to_input) {
  const std::vector<std::byte> bytes = encoded(format, height, width);
  std::vector<float> input(size_t{96} * 96 * 3);
  for (auto _ : state) {
    const Image image = decode_image(bytes, contract()).value();
    if (to_input && !image_to_input(image, contract(), input.data()).ok())
      state.SkipWithError("not converted");
    benchmark::ClobberMemory();
  }
  count(state, height, width);
}

void load(benchmark::State& state, Format format, int64_t height, int64_t width) {
  const std::vector<std::byte> bytes = encoded(format, height, width);
  std::string path = (std::filesystem::temp_directory_path() / "nacre_image_bench_XXXXXX").string();
  const int file = mkstemp(path.data());
  if (file < 0 || write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    state.SkipWithError("no temporary file");
    return;
  }
  close(file);
  std::vector<float> input(size_t{96} * 96 * 3);
  for (auto _ : state) {
    if (!load_image(path, contract(), input.data()).ok()) state.SkipWithError("not loaded");
  }
  std::remove(path.c_str());
  count(state, height, width);
}

const bool kRegistered = [] {
  struct Size {
    int64_t height;
    int64_t width;
  };
  for (const Format format : {Format::kJpeg, Format::kPng}) {
    for (const Size size : {Size{96, 96}, Size{480, 640}}) {
      const std::string name = std::string(format == Format::kJpeg ? "jpeg " : "png ") +
                               std::to_string(size.height) + "x" + std::to_string(size.width);
      benchmark::RegisterBenchmark((name + "/decode").c_str(), decode, format, size.height, size.width,
                                   false);
      benchmark::RegisterBenchmark((name + "/to input").c_str(), decode, format, size.height, size.width,
                                   true);
      benchmark::RegisterBenchmark((name + "/load file").c_str(), load, format, size.height, size.width);
    }
  }
  return true;
}();

}  // namespace
}  // namespace nacre
