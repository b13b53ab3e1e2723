// Depthwise convolutions on shapes that nobody chose, against the reference in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "layers/depthwise_conv.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int kShapes = 150;
constexpr uint64_t kSeed = 21;
constexpr double kBound = 5e-6;
// A gradient of a bias may be a sum that is nearly zero.
constexpr double kLeast = 4.0;

/// Most windows are three wide, which has kernels of its own; channel counts fit vectors seldom.
LayerCase draw_case(uint64_t shape) {
  Draws draw(kSeed, shape);
  AttrMap conv{{"padding", std::string(draw.once_in(3) ? "valid" : "same")},
               {"kernel_size", std::vector<int64_t>{draw.once_in(2) ? 3 : draw.between(1, 5),
                                                    draw.once_in(4) ? draw.between(1, 6) : 3}},
               {"strides", draw.once_in(4) ? draw.between(3, 4) : draw.between(1, 2)},
               {"activation", std::string(draw.once_in(3) ? "linear" : "relu")},
               {"use_bias", !draw.once_in(4)},
               {"depth_multiplier", draw.once_in(8) ? int64_t{2} : int64_t{1}}};
  const bool small = draw.once_in(3);
  const bool valid = std::get<std::string>(conv["padding"]) == "valid";
  const auto side = [&] { return (valid ? 6 : 1) + (small ? draw.between(0, 5) : draw.between(6, 40)); };
  const int64_t height = side();
  const int64_t width = side();
  return {"DepthwiseConv2D", {conv}, {Shape{draw.between(1, 3), height, width, draw.between(1, 50)}}, {}};
}

using DepthwiseShapes = OnEveryIsa;

TEST_P(DepthwiseShapes, AgreeWithTheReference) {
  check_shapes(kShapes, draw_case, kBound, kLeast);
}

TEST_P(DepthwiseShapes, RowsPastTheCachesAreTheSame) {
  for (uint64_t shape = 0; shape < kShapes; ++shape) {
    const LayerCase layer = draw_case(shape);
    const auto attrs = parse_attributes<DepthwiseAttrs>(layer.attributes[0]).value();
    const DepthwiseConv conv = make_depthwise_conv(attrs, layer.inputs[0]).value();
    DepthwiseGeometry g = conv.g;
    if (shape % 2 == 0) g.channels = (g.channels + 15) / 16 * 16;
    Tensor image(Shape{g.image_size()});
    Tensor kernel(Shape{g.kernel_size()});
    for (int64_t i = 0; i < image.size(); ++i) image.data()[i] = std::sin(static_cast<float>(i));
    for (int64_t i = 0; i < kernel.size(); ++i) kernel.data()[i] = std::cos(static_cast<float>(i));
    // Also where vectors do not lie on lines of the cache.
    const int64_t shift = shape % 4 / 2;
    const int64_t row = g.window.x.out * g.channels;
    Tensor plain(Shape{row});
    Tensor past(Shape{row + shift});
    for (int64_t oy = 0; oy < g.window.y.out; ++oy) {
      depthwise_row(g, oy, image.data(), kernel.data(), nullptr, conv.clip, plain.data());
      depthwise_row(g, oy, image.data(), kernel.data(), nullptr, conv.clip, past.data() + shift,
                    {.far = true, .bypass = true});
      ASSERT_TRUE(std::equal(plain.data(), plain.data() + row, past.data() + shift)) << layer;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, DepthwiseShapes, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace nacre
