#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

LayerCase layer(const Shape& input, const Shape& output, const AttrMap& attributes = {}) {
  return {"ZeroPad2D", {attributes}, {input}, output};
}

INSTANTIATE_TEST_SUITE_P(
    ZeroPad2D, LayerTest,
    ::testing::Values(layer({1, 1, 1, 1}, {1, 3, 3, 1}),
                      layer({2, 5, 7, 3}, {2, 5, 7, 3}, {{"padding", int64_t{0}}}),
                      layer({2, 5, 7, 3}, {2, 9, 13, 3}, {{"padding", Extents{2, 3}}}),
                      layer({3, 2, 3, 17}, {3, 3, 8, 17}, {{"padding", Extents{1, 0, 2, 3}}}),
                      layer({3, 2, 3, 5}, {3, 6, 3, 5}, {{"padding", Extents{0, 4, 0, 0}}})));

INSTANTIATE_TEST_SUITE_P(
    ZeroPad2D, RefusalTest,
    ::testing::Values(
        RefusalCase{layer({2, 3}, {}), "[N, H, W, C]"}, RefusalCase{layer({2, 0, 3, 1}, {}), "empty"},
        RefusalCase{layer({2, 3, 3, 1}, {}, {{"padding", int64_t{-1}}}), "padding"},
        RefusalCase{layer({2, 3, 3, 1}, {}, {{"padding", Extents{1, 2, 3}}}), "[top, bottom, left, right]"},
        RefusalCase{layer({2, 3, 3, 1}, {}, {{"padding", Extents{1, 2, 3, -4}}}), "padding"},
        RefusalCase{layer({2, 3, 3, 1}, {}, {{"padding", std::string("same")}}), "padding"},
        RefusalCase{layer({int64_t{1} << 30, 3, 3, 1}, {}, {{"padding", int64_t{1} << 20}}), "2^48"}));

TEST(ZeroPad2DValues, EverySideHasItsOwn) {
  const auto pad = layer({1, 1, 2, 1}, {}, {{"padding", Extents{1, 0, 1, 2}}});
  EXPECT_THAT(forward_values(pad, {7, 8}), ElementsAre(0, 0, 0, 0, 0, 0, 7, 8, 0, 0));
  EXPECT_THAT(input_gradient(pad, {7, 8}, {}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), ElementsAre(7, 8));
}

}  // namespace
}  // namespace nacre
