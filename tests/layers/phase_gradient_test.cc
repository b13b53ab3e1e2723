// Convolutions with steps above 1 on shapes that nobody chose, against the reference in double.
#include <gtest/gtest.h>

#include "layers/conv_path.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int kShapes = 120;
constexpr uint64_t kSeed = 22;

LayerCase draw_case(uint64_t shape) {
  Draws draw(kSeed, shape);
  AttrMap conv{{"filters", draw.between(1, draw.once_in(4) ? 90 : 40)},
               {"kernel_size", std::vector<int64_t>{draw.between(1, 6), draw.between(1, 6)}},
               {"strides", std::vector<int64_t>{draw.between(1, 4), draw.between(1, 4)}},
               {"padding", std::string(draw.once_in(3) ? "valid" : "same")},
               {"activation", std::string(draw.once_in(2) ? "linear" : "relu")}};
  const int64_t images = draw.once_in(12) ? draw.between(17, 25) : draw.between(1, 3);
  const int64_t height = draw.between(6, 40);
  return {"Conv2D", {conv}, {Shape{images, height, draw.between(6, 40), draw.between(1, 40)}}, {}};
}

ConvGeometry geometry_of(const LayerCase& layer) {
  const auto conv = parse_attributes<ConvAttrs>(layer.attributes[0]).value();
  return make_conv_geometry(conv, layer.inputs[0]).value();
}

using PhaseGradientShapes = OnEveryIsa;

TEST_P(PhaseGradientShapes, AgreeWithTheReference) {
  check_shapes(kShapes, draw_case, 1e-5, 1.0);
}

INSTANTIATE_TEST_SUITE_P(Isa, PhaseGradientShapes, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(PhaseGradient, IsDrawn) {
  int drawn = 0;
  for (uint64_t shape = 0; shape < kShapes; ++shape) {
    if (choose_phase_gradient(geometry_of(draw_case(shape)), nullptr)) ++drawn;
  }
  EXPECT_GE(drawn, kShapes / 4);
  EXPECT_LE(drawn, kShapes * 3 / 4);
}

}  // namespace
}  // namespace nacre
