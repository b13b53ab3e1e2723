// Every way to compute a convolution, on shapes that nobody chose, against the reference in double.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "layers/conv_path.h"
#include "layers/pool_kernels.h"
#include "random_shapes.h"

namespace nacre {
namespace {

constexpr int kShapes = 240;
constexpr uint64_t kSeed = 20;
constexpr double kBound = 1e-5;
constexpr double kLeast = 1e-3;

/// A convolution, perhaps with a pooling behind it. Three of four kernels are squares of 3 or 5 with steps of
/// 1, which have paths of their own; channel counts fit vectors seldom.
LayerCase draw_case(uint64_t shape) {
  Draws draw(kSeed, shape);
  const bool common = !draw.once_in(4);
  const int64_t square = draw.once_in(3) ? 5 : 3;
  AttrMap conv{{"filters", draw.between(1, 40)},
               {"padding", std::string(draw.once_in(3) ? "valid" : "same")}};
  conv["activation"] = std::string(draw.once_in(3) ? "linear" : "relu");
  conv["kernel_size"] = common ? std::vector<int64_t>{square, square}
                               : std::vector<int64_t>{draw.between(1, 4), draw.between(1, 4)};
  int64_t channels = draw.once_in(3) ? draw.between(1, 4) : draw.between(5, draw.once_in(4) ? 70 : 40);
  if (!common && draw.once_in(2)) {
    conv["strides"] = std::vector<int64_t>{draw.between(1, 2), draw.between(1, 3)};
  } else if (!common && draw.once_in(3)) {
    conv["dilation_rate"] = std::vector<int64_t>{draw.between(1, 2), draw.between(1, 2)};
  } else if (!common) {
    conv["groups"] = int64_t{2};
    conv["filters"] = 2 * draw.between(1, 20);
    channels = 2 * draw.between(1, 10);
  }
  // Some images are of whole tiles, the rest of any size.
  const bool whole = draw.once_in(3);
  const auto side = [&] { return whole ? 4 * draw.between(3, 5) : draw.between(9, 17); };
  // Of many images, several share a chunk; one filter's bias alone may be a sum that is nearly zero.
  const bool many = draw.once_in(12) && std::get<int64_t>(conv["filters"]) >= 8;
  const int64_t images = many ? draw.between(17, 40) : draw.between(1, 3);
  const int64_t height = side();
  LayerCase layer{"Conv2D", {conv}, {Shape{images, height, side(), channels}}, {}};
  if (draw.once_in(2)) return layer;
  const std::vector<int64_t> window = draw.once_in(4)
                                          ? std::vector<int64_t>{draw.between(1, 3), draw.between(1, 3)}
                                          : std::vector<int64_t>{2, 2};
  layer.op = "Conv2D+MaxPool2D";
  layer.attributes.push_back(
      {{"pool_size", window}, {"padding", std::string(draw.once_in(3) ? "same" : "valid")}});
  return layer;
}

using ConvPaths = OnEveryIsa;

TEST_P(ConvPaths, AgreeWithTheReferenceOnRandomShapes) {
  check_shapes(kShapes, draw_case, kBound, kLeast);
}

INSTANTIATE_TEST_SUITE_P(Isa, ConvPaths, ::testing::ValuesIn(fast_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(ConvPathsDrawn, AreAllOfThem) {
  std::map<ForwardPath, int> drawn;
  std::map<KernelGradientPath, int> gradients;
  int quads = 0;
  int sparse_inputs = 0;
  int shared = 0;  // by Winograd's algorithm behind a pooling
  int pairs = 0;   // pooled in registers
  // Tiles of 6 x 6 for 5x5.
  int large = 0;
  int large_gradients = 0;
  const auto count_large = [&](const ConvGeometry& geometry, const WindowAxis& rows) {
    if (geometry.window.x.window != 5) return;
    if (choose_forward_path(geometry, rows, Mode::kTraining) == ForwardPath::kWinograd) {
      large += static_cast<int>(winograd_algorithm(geometry, rows, Mode::kTraining).rows == 6);
    }
    if (choose_winograd_gradient(geometry, rows)) {
      large_gradients += static_cast<int>(winograd_gradient_algorithm(geometry).rows == 6);
    }
  };
  for (uint64_t shape = 0; shape < kShapes; ++shape) {
    const LayerCase layer = draw_case(shape);
    const auto conv = parse_attributes<ConvAttrs>(layer.attributes[0]).value();
    const ConvGeometry geometry = make_conv_geometry(conv, layer.inputs[0]).value();
    if (layer.attributes.size() == 1) {
      count_large(geometry, geometry.rows());
      ++drawn[choose_forward_path(geometry, geometry.rows(), Mode::kInference)];
      ++gradients[choose_kernel_gradient(geometry, geometry.rows(), nullptr)];
      continue;
    }
    const Shape sums{1, geometry.window.y.out, geometry.window.x.out, geometry.filters};
    const Window2 pool = make_pool_window(layer.attributes[1], sums).value().window;
    count_large(geometry, pool.y);
    ++drawn[choose_forward_path(geometry, pool.y, Mode::kInference)];
    const FusedPool fused{{pool, geometry.filters}, geometry.relu};
    if (fused.of_pairs() && choose_forward_path(geometry, pool.y, Mode::kTraining) != ForwardPath::kGemm) {
      ++pairs;
    }
    const KernelGradientPath gradient = choose_kernel_gradient(geometry, pool.y, &fused);
    ++gradients[gradient];
    if (choose_quad_gradient(geometry, pool.y, fused)) ++quads;
    if (choose_sparse_input_gradient(geometry, pool.y, fused)) ++sparse_inputs;
    if (gradient == KernelGradientPath::kWinograd && fused.of_pairs()) ++shared;
  }
  for (const ForwardPath path : {ForwardPath::kGemm, ForwardPath::kDirect, ForwardPath::kWinograd}) {
    EXPECT_GE(drawn[path], 20) << static_cast<int>(path);
  }
  for (const KernelGradientPath path : {KernelGradientPath::kGemm, KernelGradientPath::kDirect,
                                        KernelGradientPath::kWinograd, KernelGradientPath::kSparse}) {
    EXPECT_GE(gradients[path], 10) << static_cast<int>(path);
  }
  EXPECT_GE(quads, 5);
  EXPECT_GE(sparse_inputs, 5);
  EXPECT_GE(pairs, 20);
  EXPECT_GE(shared, 3);
  EXPECT_GE(large, 5);
  EXPECT_GE(large_gradients, 5);
}

}  // namespace
}  // namespace nacre
