#include "train/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "tests/engine/every_target.h"

namespace nacre {
namespace {

using testing::HasSubstr;

// The formulas once more, a pixel at a time in double.
using Pixel = std::array<double, 3>;

Pixel naive_hue(const Pixel& p, double delta) {
  const double mx = *std::max_element(p.begin(), p.end());
  const double c = mx - *std::min_element(p.begin(), p.end());
  double h = 0.0;
  if (c > 0.0) {
    if (p[0] == mx) {
      h = std::fmod((p[1] - p[2]) / c + 6.0, 6.0);
    } else if (p[1] == mx) {
      h = (p[2] - p[0]) / c + 2.0;
    } else {
      h = (p[0] - p[1]) / c + 4.0;
    }
  }
  h = std::fmod(h + 6.0 * delta + 12.0, 6.0);
  Pixel out{};
  const std::array<double, 3> offsets = {5.0, 3.0, 1.0};
  for (size_t i = 0; i < 3; ++i) {
    const double k = std::fmod(offsets[i] + h, 6.0);
    out[i] = mx - c * std::clamp(std::min(k, 4.0 - k), 0.0, 1.0);
  }
  return out;
}

Pixel naive_saturation(const Pixel& p, double factor) {
  const double v = *std::max_element(p.begin(), p.end());
  const double s = v > 0.0 ? (v - *std::min_element(p.begin(), p.end())) / v : 0.0;
  const double changed = std::clamp(s * factor, 0.0, 1.0);
  Pixel out{};
  for (size_t i = 0; i < 3; ++i) out[i] = s == 0.0 ? v : v - (v - p[i]) * changed / s;
  return out;
}

struct Range {
  float low;
  float high;
};

// Uniform pixels, with greys, equal pairs, black and flat negatives among them.
std::vector<float> make_image(int64_t pixels, int64_t channels, Range range, uint64_t seed) {
  const RandomStream random(seed, 1);
  std::vector<float> image(static_cast<size_t>(pixels * channels));
  for (size_t i = 0; i < image.size(); ++i)
    image[i] = range.low + random.uniform(i) * (range.high - range.low);
  if (channels == 3) {
    for (size_t i = 0; i + 2 < image.size(); i += 21) image[i + 1] = image[i + 2] = image[i];
    for (size_t i = 3; i + 2 < image.size(); i += 24) image[i + 1] = image[i];
    for (size_t i = 6; i + 2 < image.size(); i += 27) image[i + 2] = image[i];
    for (size_t i = 9; i + 2 < image.size(); i += 30) image[i + 2] = image[i + 1];
    for (size_t i = 12; i + 2 < image.size(); i += 210) image[i] = image[i + 1] = image[i + 2] = 0.0F;
  }
  return image;
}

constexpr std::array<Range, 4> kRanges = {Range{0.0F, 1.0F}, Range{-0.5F, 1.5F}, Range{0.7F, 0.700001F},
                                          Range{-2.0F, -0.5F}};
constexpr std::array<int64_t, 5> kPixelCounts = {1, 7, 97, 512, 1500};

double scale_of(const Range& range) {
  return std::max({1.0, std::fabs(double{range.low}), std::fabs(double{range.high})});
}

void compare_rgb(double tolerance, const std::function<void(float*, int64_t, float)>& fast,
                 const std::function<Pixel(const Pixel&, double)>& naive, std::span<const float> arguments) {
  for (const Range& range : kRanges) {
    for (const int64_t pixels : kPixelCounts) {
      for (const float argument : arguments) {
        const std::vector<float> before = make_image(pixels, 3, range, static_cast<uint64_t>(pixels));
        std::vector<float> after = before;
        fast(after.data(), pixels, argument);
        for (size_t i = 0; i < before.size(); i += 3) {
          const Pixel want = naive({before[i], before[i + 1], before[i + 2]}, argument);
          for (size_t k = 0; k < 3; ++k) {
            ASSERT_NEAR(after[i + k], want[k], tolerance * scale_of(range))
                << "argument " << argument << ", pixel " << i / 3 << " of " << before[i] << " "
                << before[i + 1] << " " << before[i + 2];
          }
        }
      }
    }
  }
}

TEST(Augment, HueEqualsTheFormula) {
  on_every_target([] {
    compare_rgb(1.9e-6, adjust_hue, naive_hue,
                std::array{0.0F, 0.08F, -0.08F, 0.5F, -0.5F, 1e-9F, -1e-9F, 0.3333F, 1.0F, -1.0F});
  });
}

TEST(Augment, SaturationEqualsTheFormula) {
  on_every_target([] {
    compare_rgb(7e-7, adjust_saturation, naive_saturation,
                std::array{0.0F, 0.2F, 0.99F, 1.0F, 1.7F, 2.0F, 50.0F});
  });
}

TEST(Augment, ColoursHaveTheSameBitsOnEveryTarget) {
  for (const Range& range : kRanges) {
    for (const int64_t pixels : kPixelCounts) {
      const std::vector<float> before = make_image(pixels, 3, range, 7);
      std::vector<std::vector<float>> results;
      on_every_target([&] {
        std::vector<float> image = before;
        adjust_brightness(image.data(), pixels * 3, 0.123F);
        adjust_contrast(image.data(), pixels, 3, 1.7F);
        adjust_hue(image.data(), pixels, -0.07F);
        adjust_saturation(image.data(), pixels, 1.3F);
        adjust_contrast(image.data(), pixels * 3, 1, 0.3F);
        results.push_back(image);
      });
      for (const std::vector<float>& result : results) EXPECT_EQ(result, results.front());
    }
  }
}

TEST(Augment, GreyPixelsKeepTheirValueAndNegativesBecomeFlat) {
  std::vector<float> image = {0.25F, 0.25F, 0.25F, -0.5F, -0.25F, -1.0F, 0.0F, 0.0F, 0.0F};
  std::vector<float> turned = image;
  adjust_hue(turned.data(), 1, 0.3F);
  EXPECT_EQ(turned, image);
  adjust_saturation(image.data(), 3, 2.0F);
  EXPECT_EQ(image, (std::vector<float>{0.25F, 0.25F, 0.25F, -0.25F, -0.25F, -0.25F, 0.0F, 0.0F, 0.0F}));
}

TEST(Augment, ContrastEqualsTheFormula) {
  for (const Range& range : kRanges) {
    for (const int64_t pixels : kPixelCounts) {
      for (const int64_t channels : {1, 3}) {
        for (const float factor : {0.2F, 1.0F, 2.0F}) {
          const std::vector<float> before = make_image(pixels, channels, range, 5);
          std::vector<float> after = before;
          adjust_contrast(after.data(), pixels, channels, factor);
          for (int64_t c = 0; c < channels; ++c) {
            double sum = 0.0;
            for (int64_t p = 0; p < pixels; ++p) sum += before[static_cast<size_t>(p * channels + c)];
            const double mean = sum / static_cast<double>(pixels);
            for (int64_t p = 0; p < pixels; ++p) {
              const auto at = static_cast<size_t>(p * channels + c);
              // 1.2e-7 is one step of a float near 1; the result may lie up to 3 times further out than the
              // input.
              ASSERT_NEAR(after[at], (before[at] - mean) * factor + mean, 1.2e-7 * 3.0 * scale_of(range));
            }
          }
        }
      }
    }
  }
}

TEST(Augment, BrightnessAndFlipAreExact) {
  std::vector<float> image = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
  adjust_brightness(image.data(), 6, -0.5F);
  EXPECT_EQ(image, (std::vector<float>{0.5F, 1.5F, 2.5F, 3.5F, 4.5F, 5.5F}));
  std::vector<float> odd = image;
  flip_left_right(odd.data(), 2, 3, 1);
  EXPECT_EQ(odd, (std::vector<float>{2.5F, 1.5F, 0.5F, 5.5F, 4.5F, 3.5F}));
  flip_left_right(image.data(), 1, 2, 3);
  EXPECT_EQ(image, (std::vector<float>{3.5F, 4.5F, 5.5F, 0.5F, 1.5F, 2.5F}));
}

TEST(Augment, ShiftsAreExactAndZerosComeIn) {
  constexpr int64_t kHeight = 5;
  constexpr int64_t kWidth = 4;
  for (const int64_t channels : {1, 3}) {
    for (int64_t dy = -4; dy <= 4; ++dy) {
      for (int64_t dx = -3; dx <= 3; ++dx) {
        const std::vector<float> before = make_image(kHeight * kWidth, channels, {1.0F, 2.0F}, 4);
        std::vector<float> after = before;
        shift_image(after.data(), kHeight, kWidth, channels, dy, dx);
        for (int64_t y = 0; y < kHeight; ++y) {
          for (int64_t x = 0; x < kWidth; ++x) {
            const bool inside = y - dy >= 0 && y - dy < kHeight && x - dx >= 0 && x - dx < kWidth;
            for (int64_t c = 0; c < channels; ++c) {
              const auto from = static_cast<size_t>(((y - dy) * kWidth + x - dx) * channels + c);
              ASSERT_EQ(after[static_cast<size_t>((y * kWidth + x) * channels + c)],
                        inside ? before[from] : 0.0F)
                  << dy << " " << dx << " at " << y << " " << x;
            }
          }
        }
      }
    }
  }
}

TEST(Augment, CropComesLastAndEveryPlaceIsAsLikely) {
  const auto option = Augmentation::parse("brightness=0.5,crop=2");
  ASSERT_TRUE(option.ok());
  std::array<int, 25> places{};
  for (int sample = 0; sample < 2500; ++sample) {
    // A single bright pixel in the middle shows where the image went.
    std::vector<float> image(49, 0.0F);
    image[24] = 10.0F;
    const RandomStream random = augment_stream(3, 0, sample);
    augment(*option, random, image.data(), 7, 7, 1);
    const auto at = std::max_element(image.begin(), image.end()) - image.begin();
    ++places.at(static_cast<size_t>((at / 7 - 1) * 5 + at % 7 - 1));
    // Brightness moved all pixels; what came in is zero.
    EXPECT_EQ(std::count(image.begin(), image.end(), 0.0F),
              49 - (7 - std::abs(at / 7 - 3)) * (7 - std::abs(at % 7 - 3)));
  }
  for (const int count : places) EXPECT_NEAR(count, 100, 50);
}

TEST(Augment, DrawsAreUniformInTheirRangesAndStepsAreInOrder) {
  const auto option = Augmentation::parse("flip,brightness=0.5,contrast=0.2:2.0,hue=0.08,saturation=0.2:2.0");
  ASSERT_TRUE(option.ok());
  constexpr int64_t kHeight = 5;
  constexpr int64_t kWidth = 7;
  constexpr int kSamples = 400;
  int flips = 0;
  double brightness_sum = 0.0;
  for (int sample = 0; sample < kSamples; ++sample) {
    const std::vector<float> before = make_image(kHeight * kWidth, 3, {0.0F, 1.0F}, 3);
    std::vector<float> after = before;
    const RandomStream random = augment_stream(9, 2, sample);
    augment(*option, random, after.data(), kHeight, kWidth, 3);

    std::vector<float> want = before;
    if (random.uniform(0) < 0.5F) {
      ++flips;
      flip_left_right(want.data(), kHeight, kWidth, 3);
    }
    const float delta = -0.5F + random.uniform(1) * 1.0F;
    brightness_sum += double{delta};
    adjust_brightness(want.data(), kHeight * kWidth * 3, delta);
    adjust_contrast(want.data(), kHeight * kWidth, 3, 0.2F + random.uniform(2) * (2.0F - 0.2F));
    adjust_hue(want.data(), kHeight * kWidth, -0.08F + random.uniform(3) * (0.08F + 0.08F));
    adjust_saturation(want.data(), kHeight * kWidth, 0.2F + random.uniform(4) * (2.0F - 0.2F));
    ASSERT_EQ(after, want) << sample;
  }
  EXPECT_NEAR(flips, kSamples / 2, 50);
  EXPECT_NEAR(brightness_sum / kSamples, 0.0, 0.08);
}

TEST(Augment, TurningOneOffLeavesTheOthersAsTheyWere) {
  const auto both = Augmentation::parse("brightness=0.5,saturation=0.2:2.0");
  const auto one = Augmentation::parse("saturation=0.2:2.0");
  ASSERT_TRUE(both.ok() && one.ok());
  const RandomStream random = augment_stream(1, 0, 4);
  std::vector<float> image = make_image(50, 3, {0.0F, 1.0F}, 8);
  std::vector<float> other = image;
  augment(*both, random, image.data(), 5, 10, 3);
  adjust_brightness(other.data(), 150, -0.5F + random.uniform(1));
  augment(*one, random, other.data(), 5, 10, 3);
  EXPECT_EQ(image, other);
}

TEST(AugmentOption, RoundTrip) {
  for (const char* text :
       {"none", "flip", "flip,brightness=0.5,contrast=0.2:2,hue=0.08,saturation=0.2:2,crop=4", "hue=0.1",
        "crop=1"}) {
    const auto parsed = Augmentation::parse(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_EQ(parsed->to_string(), text);
  }
  const auto shuffled = Augmentation::parse("contrast=0.25:2.0,flip");
  ASSERT_TRUE(shuffled.ok());
  EXPECT_EQ(shuffled->to_string(), "flip,contrast=0.25:2");
  EXPECT_TRUE(shuffled->any());
  EXPECT_FALSE(Augmentation::parse("none")->any());
}

TEST(AugmentOption, ErrorsNameTheItemAndWhatIsKnown) {
  for (const char* item : {"",
                           "rotate=3",
                           "crop=0",
                           "crop=-1",
                           "crop=4.5",
                           "crop",
                           "crop=99999999999999999999",
                           "crop=16385",
                           "flip=1",
                           "brightness",
                           "brightness=",
                           "brightness=x",
                           "brightness=-1",
                           "brightness=nan",
                           "brightness=inf",
                           "brightness=1e99",
                           "contrast=1",
                           "contrast=2:1",
                           "contrast=1:1",
                           "contrast=-1:2",
                           "contrast=1:2:3",
                           "hue=0.6",
                           "saturation=0.2:x",
                           "none",
                           "flip "}) {
    const auto parsed = Augmentation::parse(std::string("flip,") + item);
    ASSERT_FALSE(parsed.ok()) << item;
    EXPECT_EQ(parsed.status().code(), StatusCode::kUsage);
    EXPECT_THAT(parsed.status().message(), HasSubstr(std::string("'") + item + "'"));
    EXPECT_THAT(parsed.status().message(), HasSubstr("known are flip, brightness=D"));
  }
  EXPECT_THAT(Augmentation::parse("flip,hue=0.1,flip").status().message(), HasSubstr("given twice"));
}

TEST(AugmentOption, ColourChangesNeedColour) {
  InputContract grey;
  grey.height = 8;
  grey.width = 6;
  grey.channels = 1;
  InputContract colour = grey;
  colour.channels = 3;
  EXPECT_FALSE(Augmentation::parse("hue=0.1")->check(grey).ok());
  EXPECT_FALSE(Augmentation::parse("saturation=0.5:1.5")->check(grey).ok());
  EXPECT_TRUE(Augmentation::parse("flip,brightness=1,contrast=0.5:1.5,crop=2")->check(grey).ok());
  EXPECT_TRUE(Augmentation::parse("hue=0.1")->check(colour).ok());
  EXPECT_TRUE(Augmentation::parse("crop=5")->check(colour).ok());
  EXPECT_FALSE(Augmentation::parse("crop=6")->check(colour).ok());
}

}  // namespace
}  // namespace nacre
