#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "image/decode.h"
#include "image/encode.h"
#include "tests/image/image_bytes.h"

namespace nacre::test {
namespace {

std::vector<float> to_input(const Image& image, const InputContract& contract) {
  std::vector<float> out(static_cast<size_t>(contract.height * contract.width * contract.channels), -1.0F);
  const Status status = image_to_input(image, contract, out.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

uint8_t pixel(const Image& image, int64_t y, int64_t x, int64_t c) {
  return image.pixels[static_cast<size_t>((y * image.width + x) * image.channels + c)];
}

TEST(ImageToInput, SameSizeIsScalingOnly) {
  const Image image = gradient(6, 9, 3);
  InputContract contract = contract_for(6, 9, 3);
  for (const ResizePolicy policy : {ResizePolicy::kBilinear, ResizePolicy::kExact}) {
    contract.resize = policy;
    const std::vector<float> input = to_input(image, contract);
    for (size_t i = 0; i < input.size(); ++i) {
      EXPECT_EQ(input[i], static_cast<float>(image.pixels[i]) * (1.0F / 255.0F));
    }
  }
  contract.scale = 2.0F;
  EXPECT_EQ(to_input(image, contract)[5], 2.0F * static_cast<float>(image.pixels[5]));
}

// The formula written down plainly, with nothing precomputed, in the type T.
template <typename T>
T naive_bilinear(const Image& image, const InputContract& contract, int64_t oy, int64_t ox, int64_t c) {
  const auto source = [](int64_t o, int64_t in, int64_t out) {
    return (static_cast<T>(o) + T(0.5)) * (static_cast<T>(in) / static_cast<T>(out)) - T(0.5);
  };
  const T y = source(oy, image.height, contract.height);
  const T x = source(ox, image.width, contract.width);
  const auto y0 = std::max<int64_t>(static_cast<int64_t>(std::floor(y)), 0);
  const auto y1 = std::min<int64_t>(static_cast<int64_t>(std::ceil(y)), image.height - 1);
  const auto x0 = std::max<int64_t>(static_cast<int64_t>(std::floor(x)), 0);
  const auto x1 = std::min<int64_t>(static_cast<int64_t>(std::ceil(x)), image.width - 1);
  const T ty = y - std::floor(y);
  const T tx = x - std::floor(x);
  const auto value = [&](int64_t row, int64_t column) {
    return static_cast<T>(pixel(image, row, column, c)) * static_cast<T>(contract.scale);
  };
  const T top = value(y0, x0) + (value(y0, x1) - value(y0, x0)) * tx;
  const T bottom = value(y1, x0) + (value(y1, x1) - value(y1, x0)) * tx;
  return top + (bottom - top) * ty;
}

TEST(ImageToInput, ResizeEqualsTheFormula) {
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1}, {2, 3}, {5, 4}, {7, 7}, {16, 9}, {31, 50}};
  for (const int64_t channels : {1, 3}) {
    for (const auto& [in_height, in_width] : sizes) {
      for (const auto& [out_height, out_width] : sizes) {
        const Image image = gradient(in_height, in_width, channels);
        const InputContract contract = contract_for(out_height, out_width, channels);
        const std::vector<float> input = to_input(image, contract);
        size_t i = 0;
        for (int64_t y = 0; y < out_height; ++y) {
          for (int64_t x = 0; x < out_width; ++x) {
            for (int64_t c = 0; c < channels; ++c, ++i) {
              EXPECT_EQ(input[i], naive_bilinear<float>(image, contract, y, x, c));
              EXPECT_NEAR(input[i], naive_bilinear<double>(image, contract, y, x, c), 2e-5);
            }
          }
        }
      }
    }
  }
}

TEST(ImageToInput, DoublingGivesQuartersByHand) {
  InputContract contract = contract_for(1, 4, 1);
  contract.scale = 1.0F;
  EXPECT_THAT(to_input({1, 2, 1, {0, 100}}, contract), ::testing::ElementsAre(0.0F, 25.0F, 75.0F, 100.0F));
}

TEST(ImageToInput, ExactRefusesAnotherSize) {
  InputContract contract = contract_for(6, 9, 3);
  contract.resize = ResizePolicy::kExact;
  std::vector<float> out(6 * 9 * 3);
  const Status status = image_to_input(gradient(9, 6, 3), contract, out.data());
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "is 6 x 9 pixels where exactly 9 x 6 are expected");
}

TEST(ImageToInput, ImageThatDoesNotFitTheContractIsInternal) {
  std::vector<float> out(6 * 9 * 3);
  EXPECT_EQ(image_to_input(gradient(6, 9, 1), contract_for(6, 9, 3), out.data()).code(),
            StatusCode::kInternal);
  EXPECT_EQ(image_to_input(gradient(6, 9, 3), contract_for(0, 9, 3), out.data()).code(),
            StatusCode::kInternal);
  EXPECT_EQ(image_to_input({6, 9, 3, {}}, contract_for(6, 9, 3), out.data()).code(), StatusCode::kInternal);
}

Status load(const std::string& path) {
  std::vector<float> out(16 * 16 * 3);
  return load_image(path, contract_for(16, 16, 3), out.data());
}

TEST(LoadImage, GivesWhatDecodingAndConvertingGive) {
  const TempFolder folder;
  const Bytes jpeg = make_jpeg(gradient(24, 40, 3), {});
  const std::string path = folder.write("named.png", jpeg);  // the name does not matter
  const InputContract contract = contract_for(16, 16, 3);
  std::vector<float> out(16 * 16 * 3);
  ASSERT_TRUE(load_image(path, contract, out.data()).ok());
  EXPECT_EQ(out, to_input(*decode_image(jpeg, contract), contract));
}

// Items 10 and 11.
TEST(LoadImage, ErrorsAreOneLineWithPathAndReason) {
  const TempFolder folder;
  const std::string fifo = folder.path("fifo.jpg");
  const std::string subfolder = folder.path("folder.jpg");
  const std::string loop = folder.path("loop.jpg");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::filesystem::create_directory(subfolder);
  std::filesystem::create_symlink(loop, loop);
  Bytes cut = make_jpeg(gradient(16, 16, 3), {});
  cut.resize(cut.size() / 2);
  struct Case {
    std::string path;
    StatusCode code;
    std::string reason;
  };
  const Case cases[] = {
      {folder.write("empty.jpg", {}), StatusCode::kBadData, "is empty, not a JPEG or PNG"},
      {folder.write("gif.jpg", bytes_of("GIF89a")), StatusCode::kBadData, "is a GIF, not a JPEG or PNG"},
      {folder.write("cut.jpg", cut), StatusCode::kBadData, "damaged JPEG: "},
      {subfolder, StatusCode::kBadData, "is a folder, not a regular file"},
      {fifo, StatusCode::kBadData, "is a FIFO, not a regular file"},
      {"/dev/zero", StatusCode::kBadData, "is a device, not a regular file"},
      {folder.path("missing.jpg"), StatusCode::kIo, "cannot open: No such file or directory"},
      {loop, StatusCode::kIo, "cannot open: "},  // unreadable even for root
      {folder.path("gif.jpg/inside"), StatusCode::kIo, "cannot open: Not a directory"},
  };
  for (const Case& expected : cases) {
    const Status status = load(expected.path);
    EXPECT_EQ(status.code(), expected.code) << status.message();
    EXPECT_EQ(status.message().rfind(expected.path + ": " + expected.reason, 0), 0U) << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
}

TEST(LoadImage, FileOverTheLimitIsRefused) {
  const TempFolder folder;
  const Bytes png = *encode_png(gradient(4, 4, 3));
  const std::string path = folder.write("a.png", png);
  std::vector<float> out(4 * 4 * 3);
  const InputContract contract = contract_for(4, 4, 3);
  EXPECT_TRUE(load_image(path, contract, out.data(), {.max_encoded_bytes = png.size()}).ok());
  EXPECT_EQ(load_image(path, contract, out.data(), {.max_encoded_bytes = png.size() - 1}).code(),
            StatusCode::kLimit);
}

}  // namespace
}  // namespace nacre::test
