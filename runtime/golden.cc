#include "runtime/golden.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "engine/finite.h"
#include "engine/random.h"
#include "image/encode.h"

namespace nacre {
namespace {

constexpr int kJpegQuality = 90;

template <typename Pixel>
Image draw(int64_t height, int64_t width, int64_t channels, const Pixel& pixel) {
  Image image{height, width, channels, {}};
  image.pixels.reserve(static_cast<size_t>(height * width * channels));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) image.pixels.push_back(pixel(y, x, c));
    }
  }
  return image;
}

/// Dark to light across, down and along the diagonal, in one channel each.
Image gradient(int64_t height, int64_t width, int64_t channels) {
  return draw(height, width, channels, [=](int64_t y, int64_t x, int64_t c) {
    const int64_t across = x * 255 / width;
    const int64_t down = y * 255 / height;
    return static_cast<uint8_t>(c == 0 ? across : c == 1 ? down : (across + down) / 2);
  });
}

/// A disc over two bars.
Image shapes(int64_t height, int64_t width, int64_t channels) {
  return draw(height, width, channels, [=](int64_t y, int64_t x, int64_t c) {
    const int64_t dy = (2 * y + 1 - height) * width;
    const int64_t dx = (2 * x + 1 - width) * height;
    const bool in_disc = 4 * (dy * dy + dx * dx) < height * height * width * width;
    const bool in_bar = (4 * y / height) % 2 == 1;
    const int64_t base = in_disc ? 220 : in_bar ? 120 : 30;
    return static_cast<uint8_t>(base - (in_disc ? 60 : -25) * c);
  });
}

Image noise(int64_t height, int64_t width, int64_t channels) {
  const RandomStream stream(0, hash_name(std::string("golden")));
  return draw(height, width, channels, [&](int64_t y, int64_t x, int64_t c) {
    return static_cast<uint8_t>(stream.bits(static_cast<uint64_t>((y * width + x) * channels + c)) & 0xFF);
  });
}

/// The bundle is to live longer than what holds this.
std::shared_ptr<const Bundle> borrowed(const Bundle& bundle) {
  return {std::shared_ptr<void>(), &bundle};
}

}  // namespace

Status add_golden_vectors(Bundle& bundle, const Registry& registry, const ModelOptions& options) {
  const int64_t height = bundle.contract.height;
  const int64_t width = bundle.contract.width;
  const int64_t channels = bundle.contract.channels;
  std::vector<GoldenVector> golden;
  {
    // The model goes before the bundle is changed.
    NACRE_ASSIGN_OR_RETURN(const Model model, Model::make(borrowed(bundle), registry, options));
    const auto add = [&](const std::string& name, Result<std::vector<std::byte>> encoded) -> Status {
      if (!encoded.ok()) return encoded.status().at("golden vector " + name);
      golden.push_back({name, std::move(encoded).value(), {}});
      const std::span<const std::byte> image = golden.back().image;
      std::vector<Model::Answer> answers = model.classify({&image, 1});
      if (!answers.front().ok()) return answers.front().status().at("golden vector " + name);
      golden.back().prediction = std::move(answers.front()).value();
      const std::vector<float>& answer = golden.back().prediction;
      if (all_finite(static_cast<int64_t>(answer.size()), answer.data())) return {};
      return {StatusCode::kDiverged,
              fmt::format("golden vector {}: the answer is not finite: weights may be far too large", name)};
    };
    NACRE_RETURN_IF_ERROR(add("gradient.png", encode_png(gradient(height, width, channels))));
    NACRE_RETURN_IF_ERROR(add("shapes.png", encode_png(shapes(height, width, channels))));
    NACRE_RETURN_IF_ERROR(add("noise.png", encode_png(noise(height, width, channels))));
    NACRE_RETURN_IF_ERROR(add("shapes.jpg", encode_jpeg(shapes(height, width, channels), kJpegQuality)));
    if (bundle.contract.resize != ResizePolicy::kExact) {
      const int64_t other_height = height + height / 2 + 3;
      const int64_t other_width = width / 2 + 5;
      NACRE_RETURN_IF_ERROR(add("resized-gradient.jpg",
                                encode_jpeg(gradient(other_height, other_width, channels), kJpegQuality)));
      NACRE_RETURN_IF_ERROR(
          add("resized-shapes.png", encode_png(shapes(other_height, other_width, channels))));
    }
  }
  bundle.golden = std::move(golden);
  return {};
}

Result<std::vector<GoldenReport>> replay_golden_vectors(const Bundle& bundle, const Registry& registry,
                                                        const ModelOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Model model, Model::make(borrowed(bundle), registry, options));
  return model.replay_golden_vectors();
}

}  // namespace nacre
