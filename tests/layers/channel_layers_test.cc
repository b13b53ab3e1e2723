// Layers that take each channel by itself, on shapes that nobody chose and on every instruction set, against
// the reference in double.
#include <gtest/gtest.h>

#include "random_shapes.h"

namespace nacre {
namespace {

constexpr uint64_t kSeed = 31;
constexpr double kBound = 5e-6;
constexpr double kLeast = 0.5;  // terms are up to 1 where their sum is not

std::vector<int64_t> two(Draws& draw, int64_t most) {
  return {draw.between(1, most), draw.between(1, most)};
}

Shape draw_images(Draws& draw) {
  const int64_t channels = draw.once_in(2) ? draw.between(1, 7) : draw.between(8, 70);
  return {draw.between(1, 3), draw.between(6, 21), draw.between(6, 21), channels};
}

std::string draw_padding(Draws& draw) {
  return draw.once_in(3) ? "valid" : "same";
}

LayerCase draw_depthwise(Draws& draw) {
  const bool common = !draw.once_in(3);
  const std::vector<int64_t> kernel = common ? std::vector<int64_t>{3, 3} : two(draw, 6);
  return {"DepthwiseConv2D",
          {{{"kernel_size", kernel},
            {"strides", draw.between(1, common ? 2 : 4)},
            {"padding", draw_padding(draw)},
            {"depth_multiplier", draw.once_in(4) ? draw.between(2, 3) : int64_t{1}},
            {"use_bias", draw.once_in(2)},
            {"activation", std::string(draw.once_in(2) ? "relu" : "linear")}}},
          {draw_images(draw)},
          {}};
}

LayerCase draw_pool(Draws& draw) {
  const std::vector<int64_t> window = draw.once_in(2) ? std::vector<int64_t>{2, 2} : two(draw, 5);
  const std::vector<int64_t> strides = draw.once_in(2) ? std::vector<int64_t>{0, 0} : two(draw, 5);
  return {draw.once_in(2) ? "MaxPool2D" : "AvgPool2D",
          {{{"pool_size", window}, {"strides", strides}, {"padding", draw_padding(draw)}}},
          {draw_images(draw)},
          {}};
}

LayerCase draw_norm(Draws& draw) {
  LayerCase layer{"BatchNorm", {{}}, {draw_images(draw)}, {}};
  if (draw.once_in(4)) layer.inputs[0] = {draw.between(2, 900), draw.between(1, 40)};
  if (draw.once_in(3)) return layer;
  layer.op += draw.once_in(2) ? "+ReLU" : "+ReLU6";
  layer.attributes.emplace_back();
  return layer;
}

void check(const LayerCase& layer) {
  const auto op = std::move(create_operator(layer)).value();
  ASSERT_NE(op, nullptr);
  const int64_t n = layer.inputs[0][0];
  LayerRunner<float> fast(*op, layer.inputs, n, 1);
  LayerRunner<double> exact(*op, layer.inputs, n, 1);
  fast.fill();
  exact.fill();
  fast.forward(false);
  exact.forward(true);
  expect_near(fast.output, exact.output, kBound, kLeast, "output");
  // The gradients of the same function: with what was clipped as the fast path has it.
  std::copy_n(fast.output.data(), fast.output.size(), exact.output.data());
  fast.backward(false);
  exact.backward(true);
  for (size_t i = 0; i < exact.grad_inputs.size(); ++i) {
    expect_near(fast.grad_inputs[i], exact.grad_inputs[i], kBound, kLeast, "gradient of input");
  }
  for (size_t i = 0; i < exact.grad_variables.size(); ++i) {
    expect_near(fast.grad_variables[i], exact.grad_variables[i], kBound, kLeast,
                op->info().variables[i].name);
  }
  expect_same_with_more_threads(layer, fast);
}

class ChannelLayers : public OnEveryIsa {
 protected:
  template <typename Draw>
  void check_shapes(const Draw& draw_case) const {
    // Fewer where the same code takes much longer.
    const uint64_t shapes = GetParam().starts_with("avx") ? 150 : 25;
    for (uint64_t shape = 0; shape < shapes && !HasFailure(); ++shape) {
      Draws draw(kSeed, shape);
      const LayerCase layer = draw_case(draw);
      // A window may be larger than the image.
      if (!create_operator(layer).ok()) continue;
      SCOPED_TRACE(::testing::PrintToString(layer));
      check(layer);
    }
  }
};

TEST_P(ChannelLayers, Depthwise) {
  check_shapes(draw_depthwise);
}

TEST_P(ChannelLayers, Pooling) {
  check_shapes(draw_pool);
}

TEST_P(ChannelLayers, BatchNorm) {
  check_shapes(draw_norm);
}

INSTANTIATE_TEST_SUITE_P(Isa, ChannelLayers, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace nacre
