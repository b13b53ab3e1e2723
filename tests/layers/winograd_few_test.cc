// Winograd's algorithm for few channels, which never leaves the registers (layers/winograd_few.h).
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "layers/conv_path.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr uint64_t kShapes = 80;
constexpr uint64_t kSeed = 21;
constexpr double kBound = 1e-5;
constexpr double kLeast = 1e-3;

/// A 3x3 kernel on 2 to 4 channels, any size and number of filters, perhaps with a pooling behind it.
LayerCase draw_case(uint64_t shape) {
  Draws draw(kSeed, shape);
  const bool whole = draw.once_in(3);
  // One filter's bias alone may be a sum that is nearly zero.
  AttrMap conv{{"filters", whole ? 16 * draw.between(1, 3) : draw.between(5, 40)},
               {"kernel_size", std::vector<int64_t>{3, 3}},
               {"padding", std::string(draw.once_in(3) ? "valid" : "same")},
               {"activation", std::string(draw.once_in(3) ? "linear" : "relu")},
               {"use_bias", !draw.once_in(4)}};
  // Several groups of tiles, and one that is nearly empty.
  const auto side = [&] { return whole ? 4 * draw.between(2, 18) : draw.between(7, 71); };
  const int64_t height = side();
  LayerCase layer{"Conv2D", {conv}, {Shape{draw.between(1, 3), height, side(), draw.between(2, 4)}}, {}};
  if (draw.once_in(3)) return layer;
  layer.op = "Conv2D+MaxPool2D";
  const int64_t window = draw.once_in(4) ? 3 : 2;
  layer.attributes.push_back(
      {{"pool_size", std::vector<int64_t>{window, window}}, {"padding", std::string("valid")}});
  return layer;
}

using WinogradFew = OnEveryIsa;

TEST_P(WinogradFew, AgreesWithTheReferenceOnRandomShapes) {
  check_shapes(kShapes, draw_case, kBound, kLeast);
}

INSTANTIATE_TEST_SUITE_P(Isa, WinogradFew, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(WinogradFewDrawn, TakeThatPath) {
  int taken = 0;
  for (uint64_t shape = 0; shape < kShapes; ++shape) {
    const LayerCase layer = draw_case(shape);
    const auto conv = parse_attributes<ConvAttrs>(layer.attributes[0]).value();
    const ConvGeometry g = make_conv_geometry(conv, layer.inputs[0]).value();
    if (choose_forward_path(g, g.rows(), Mode::kInference) == ForwardPath::kWinograd) ++taken;
  }
  EXPECT_GE(taken, kShapes * 3 / 4);
}

// A picture's bits do not depend on the batch it is in.
TEST(WinogradFew, APictureAloneIsThePictureInABatch) {
  const LayerCase many{
      "Conv2D", {{{"filters", int64_t{24}}, {"kernel_size", int64_t{3}}}}, {Shape{5, 21, 37, 3}}, {}};
  LayerCase one = many;
  one.inputs = {Shape{1, 21, 37, 3}};
  const auto op = std::move(create_operator(many, Mode::kInference)).value();
  const auto alone = std::move(create_operator(one, Mode::kInference)).value();
  LayerRunner<float> batch(*op, many.inputs, 5, 1);
  LayerRunner<float> single(*alone, one.inputs, 1, 1);
  batch.fill();
  single.fill();
  for (int64_t n = 0; n < 5; ++n) {
    std::copy_n(batch.inputs[0].data() + n * single.inputs[0].size(), single.inputs[0].size(),
                single.inputs[0].data());
    batch.forward(false);
    single.forward(false);
    for (int64_t i = 0; i < single.output.size(); ++i) {
      ASSERT_EQ(single.output.data()[i], batch.output.data()[n * single.output.size() + i]) << n << ' ' << i;
    }
  }
}

// Pooled in registers, on every path that does so: the tiles of direct sums, and Winograd's.
TEST(PooledSums, NanPropagates) {
  for (const std::string& isa : fast_isas()) {
    use_isa(Isa::kBest);
    use_isa(parse_isa(isa).value());
    for (const int64_t channels : {1, 3, 16}) {
      for (const char* activation : {"relu", "linear"}) {
        AttrMap conv{{"filters", int64_t{33}}, {"kernel_size", int64_t{3}}, {"padding", std::string("same")}};
        conv["activation"] = std::string(activation);
        const LayerCase layer{
            "Conv2D+MaxPool2D", {conv, {{"pool_size", int64_t{2}}}}, {Shape{1, 24, 24, channels}}, {}};
        const auto op = std::move(create_operator(layer)).value();
        LayerRunner<float> run(*op, layer.inputs, 1, 1);
        run.fill();
        // Under the cells of rows 5, 6 and columns 4, 5.
        run.inputs[0].data()[(11 * 24 + 10) * channels] = std::numeric_limits<float>::quiet_NaN();
        run.forward(false);
        for (const int64_t y : {5, 6}) {
          for (const int64_t x : {4, 5}) {
            for (int64_t f = 0; f < 33; ++f) {
              ASSERT_TRUE(std::isnan(run.output.data()[(y * 12 + x) * 33 + f]))
                  << isa << ' ' << channels << ' ' << activation << ' ' << y << ' ' << x << ' ' << f;
            }
          }
        }
        ASSERT_FALSE(std::isnan(run.output.data()[0]));
      }
    }
  }
  use_isa(Isa::kBest);
}

}  // namespace
}  // namespace nacre
