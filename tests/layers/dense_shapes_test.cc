// Dense layers on shapes that nobody chose, against the reference in double.
#include <gtest/gtest.h>

#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int kShapes = 90;
constexpr uint64_t kSeed = 41;

/// A few images of deep sums, or many images (lists of gradients in several blocks), or many units.
LayerCase draw_case(uint64_t shape) {
  Draws draw(kSeed, shape);
  const bool deep = draw.once_in(3);
  const int64_t in = deep ? draw.between(250, 1400) : draw.between(1, 200);
  const int64_t images = !deep && draw.once_in(3) ? draw.between(100, 240) : draw.between(1, 20);
  const int64_t units = draw.once_in(3) ? draw.between(100, 300) : draw.between(1, 70);
  const AttrMap dense{{"units", units},
                      {"activation", std::string(draw.once_in(3) ? "linear" : "relu")},
                      {"use_bias", !draw.once_in(4)}};
  return {"Dense", {dense}, {Shape{images, in}}, {}};
}

using DenseShapes = OnEveryIsa;

TEST_P(DenseShapes, AgreeWithTheReference) {
  check_shapes(kShapes, draw_case, 1e-5, 1.0);
}

INSTANTIATE_TEST_SUITE_P(Isa, DenseShapes, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace nacre
