#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/isa.h"
#include "engine/random.h"
#include "layer_runner.h"
#include "layer_test.h"
#include "layers/conv_path.h"
#include "layers/winograd_matrices.h"
#include "random_shapes.h"

namespace nacre {
namespace {

template <typename M>
class WinogradMatrices : public ::testing::Test {};
using Sizes = ::testing::Types<winograd::Matrices<6, 3>, winograd::Matrices<4, 3>, winograd::Matrices<2, 3>,
                               winograd::Matrices<6, 5>, winograd::Matrices<4, 5>>;
TYPED_TEST_SUITE(WinogradMatrices, Sizes);

// The three matrices make a convolution when output i of kernel cell j takes input i + j and no other.
TYPED_TEST(WinogradMatrices, MakeAConvolution) {
  using M = TypeParam;
  for (int i = 0; i < M::kTile; ++i) {
    for (int j = 0; j < M::kKernel; ++j) {
      for (int k = 0; k < M::kInputs; ++k) {
        double sum = 0.0;
        for (int p = 0; p < M::kPoints; ++p) sum += M::output(p, i) * M::kernel(p, j) * M::input(p, k);
        EXPECT_NEAR(sum, k == i + j ? 1.0 : 0.0, 1e-12) << i << ' ' << j << ' ' << k;
      }
    }
  }
}

// The transforms rely on this: the coefficients of -p are those of p with the odd ones negated.
TYPED_TEST(WinogradMatrices, OppositePointsDifferInTheSignOfOddPowers) {
  using M = TypeParam;
  for (int p = 1; p < 2 * M::kPairs; p += 2) {
    for (int k = 0; k < M::kInputs; ++k) {
      const double sign = k % 2 == 0 ? 1.0 : -1.0;
      EXPECT_EQ(M::input(p + 1, k), sign * M::input(p, k));
      if (k < M::kKernel) {
        EXPECT_EQ(M::kernel(p + 1, k), sign * M::kernel(p, k));
      }
      if (k < M::kTile) {
        EXPECT_EQ(M::output(p + 1, k), sign * M::output(p, k));
      }
    }
  }
}

// And on this: the row of the real part at i is a multiple of what the two before it have in common.
TEST(WinogradRealPart, IsAMultipleOfEvenPowers) {
  using M = winograd::Matrices<6, 5>;
  const auto common = [](double one, double other) { return (one + other) / 2; };
  constexpr int p = M::kRealPart;
  for (int k = 0; k < M::kInputs; ++k) {
    EXPECT_EQ(M::input(p, k), common(M::input(p - 2, k), M::input(p - 1, k)));
    if (k < M::kKernel) {
      EXPECT_EQ(M::kernel(p, k), M::kRealPartOfKernel * common(M::kernel(p - 2, k), M::kernel(p - 1, k)));
    }
    if (k < M::kTile) {
      EXPECT_EQ(M::output(p, k), common(M::output(p - 2, k), M::output(p - 1, k)));
    }
  }
}

/// Of a convolution of normally distributed numbers, the largest error of a result relative to the largest
/// result.
struct Errors {
  double output;     ///< in training
  double inference;  ///< of the output
  double input;      ///< of the input's gradient
  double kernel;     ///< of the kernel's gradient
};

Errors relative_errors(int64_t size, int64_t channels, int64_t filters) {
  const LayerCase layer{"Conv2D",
                        {{{"filters", filters}, {"kernel_size", size}, {"padding", std::string("same")}}},
                        {Shape{1, 24, 24, channels}},
                        {}};
  const auto op = std::move(create_operator(layer)).value();
  const auto serving = std::move(create_operator(layer, Mode::kInference)).value();
  LayerRunner<float> fast(*op, layer.inputs, 1, 1);
  LayerRunner<float> served(*serving, layer.inputs, 1, 1);
  LayerRunner<double> exact(*op, layer.inputs, 1, 1);
  const auto draw = [](uint64_t seed, BasicTensor<double>& exactly, const std::vector<Tensor*>& same) {
    const RandomStream random(seed, hash_name(std::string_view("winograd test")));
    for (int64_t i = 0; i < exactly.size(); ++i) {
      const float value = random.truncated_normal(static_cast<uint64_t>(i));
      exactly.data()[i] = static_cast<double>(value);
      for (Tensor* tensor : same) tensor->data()[i] = value;
    }
  };
  draw(1, exact.inputs[0], {&fast.inputs[0], &served.inputs[0]});
  draw(2, exact.variables[0], {&fast.variables[0], &served.variables[0]});
  draw(3, exact.variables[1], {&fast.variables[1], &served.variables[1]});
  draw(4, exact.grad_output, {&fast.grad_output});
  fast.forward(false);
  served.forward(false);
  exact.forward(true);
  fast.backward(false);
  exact.backward(true);
  const auto error = [](const Tensor& a, const BasicTensor<double>& b) {
    double largest = 0.0;
    double worst = 0.0;
    for (int64_t i = 0; i < b.size(); ++i) {
      largest = std::max(largest, std::abs(b.data()[i]));
      worst = std::max(worst, std::abs(static_cast<double>(a.data()[i]) - b.data()[i]));
    }
    return worst / largest;
  };
  return {error(fast.output, exact.output), error(served.output, exact.output),
          error(fast.grad_inputs[0], exact.grad_inputs[0]),
          error(fast.grad_variables[0], exact.grad_variables[0])};
}

// The bounds that docs/performance.md states.
TEST(Winograd, ErrorIsBounded) {
  constexpr double kBound = 1e-5;
  constexpr double kTrainingBound = 4e-6;
  constexpr double kUnfusedBound = 5e-6;  // where every multiply-add rounds twice
  for (const std::string& isa : usable_isa_names()) {
    if (isa == "reference") continue;
    use_isa(Isa::kBest);  // what is forced hides what is better
    use_isa(parse_isa(isa).value());
    // Of few channels and of many other algorithms are taken.
    for (const int64_t channels : {3, 32, 64}) {
      for (const int64_t size : {3, 5}) {
        const Errors errors = relative_errors(size, channels, 48);
        SCOPED_TRACE(isa + ", " + std::to_string(size) + ", " + std::to_string(channels));
        EXPECT_LE(errors.output, isa == "baseline" ? kUnfusedBound : kTrainingBound);
        EXPECT_LE(errors.inference, kBound);
        EXPECT_LE(errors.input, kBound);
        EXPECT_LE(errors.kernel, size == 3 ? kTrainingBound : kBound);
        EXPECT_GT(errors.output, 0.0);
      }
    }
  }
  use_isa(Isa::kBest);
}

// The work on a few images is cut by rows and by filters.
TEST(Winograd, FewImagesHaveTheSameBitsOnManyThreads) {
  for (const int64_t filters : {33, 128}) {
    for (const int64_t side : {8, 12, 20}) {
      for (const int64_t size : {3, 5}) {
        for (const bool pooled : {false, true}) {
          LayerCase layer{
              "Conv2D",
              {{{"filters", filters}, {"kernel_size", size}, {"activation", std::string("relu")}}},
              {Shape{2, side, side, 40}},
              {}};
          layer.attributes[0]["padding"] = std::string("same");
          if (pooled) {
            layer.op = "Conv2D+MaxPool2D";
            layer.attributes.push_back({{"pool_size", int64_t{2}}});
          }
          const auto run = [&](int threads) {
            const auto op = std::move(create_operator(layer, Mode::kTraining, threads)).value();
            LayerRunner<float> runner(*op, layer.inputs, 2, threads);
            runner.fill();
            runner.forward(false);
            runner.backward(false);
            return results(runner);
          };
          const auto alone = run(1);
          for (const int threads : {2, 3, 5, 8}) {
            EXPECT_EQ(run(threads), alone)
                << filters << ' ' << side << ' ' << size << ' ' << pooled << ' ' << threads;
          }
        }
      }
    }
  }
}

// Tiles of 6 x 6 are taken of 3x3 in inference, and of 5x5.
TEST(Winograd, LargeTilesHaveTheSameBitsOnManyThreadsAndInAnyBatch) {
  for (const Mode mode : {Mode::kInference, Mode::kTraining}) {
    for (const bool pooled : {false, true}) {
      const int64_t filters = pooled ? 64 : 20;
      const int64_t size = mode == Mode::kInference ? 3 : 5;
      LayerCase layer{"Conv2D",
                      {{{"filters", filters},
                        {"kernel_size", size},
                        {"padding", std::string("same")},
                        {"activation", std::string("relu")}}},
                      {Shape{3, 35, 24, mode == Mode::kInference ? 19 : 50}},
                      {}};
      if (pooled) {
        layer.op = "Conv2D+MaxPool2D";
        layer.attributes.push_back({{"pool_size", int64_t{2}}});
      }
      const ConvGeometry g =
          make_conv_geometry(parse_attributes<ConvAttrs>(layer.attributes[0]).value(), layer.inputs[0])
              .value();
      const WindowAxis rows = pooled ? WindowAxis{35, 17, 2, 2, 0, 1} : g.rows();
      ASSERT_EQ(winograd_algorithm(g, rows, mode).rows, 6);
      ASSERT_EQ(choose_forward_path(g, rows, mode), ForwardPath::kWinograd);
      const auto run = [&](int64_t images, int threads) {
        const auto op = std::move(create_operator(layer, mode, threads)).value();
        LayerRunner<float> all(*op, layer.inputs, 3, threads);
        LayerRunner<float> runner(*op, layer.inputs, images, threads);
        all.fill();
        runner.fill();
        std::copy_n(all.inputs[0].data(), runner.inputs[0].size(), runner.inputs[0].data());
        runner.forward(false);
        const int64_t of_image = runner.output.size() / images;
        return std::vector<float>(runner.output.data(), runner.output.data() + of_image);
      };
      const std::vector<float> alone = run(1, 1);
      for (const int threads : {1, 2, 3, 8}) {
        EXPECT_EQ(run(3, threads), alone) << filters << ' ' << pooled << ' ' << threads;
        EXPECT_EQ(run(1, threads), alone) << filters << ' ' << pooled << ' ' << threads;
      }
    }
  }
}

TEST(Winograd, LargeTilesOf5x5AreTakenWhereTheyFit) {
  const auto tile = [](int64_t side, int64_t channels) {
    ConvAttrs attrs;
    attrs.filters = 64;
    attrs.kernel_size = {5, 5};
    attrs.padding = Padding::kSame;
    const ConvGeometry g = make_conv_geometry(attrs, Shape{1, side, side, channels}).value();
    const int64_t inference = winograd_algorithm(g, g.rows(), Mode::kInference).rows;
    EXPECT_EQ(inference, winograd_gradient_algorithm(g, g.rows()).rows);
    const int64_t training = winograd_algorithm(g, g.rows(), Mode::kTraining).rows;
    return std::pair(training, winograd_gradient_algorithm(g, g.rows()).rows);
  };
  EXPECT_EQ(tile(12, 64), std::pair(int64_t{6}, int64_t{6}));
  EXPECT_EQ(tile(24, 64), std::pair(int64_t{6}, int64_t{6}));
  EXPECT_EQ(tile(17, 64), std::pair(int64_t{6}, int64_t{6}));
  EXPECT_EQ(tile(8, 64), std::pair(int64_t{4}, int64_t{4}));
  EXPECT_EQ(tile(16, 64), std::pair(int64_t{4}, int64_t{4})) << "a third of the tiles would lie outside";
  EXPECT_EQ(tile(8, 16), std::pair(int64_t{6}, int64_t{4})) << "sums over few channels round more";
}

TEST(Winograd, TakesTheShapesOfThePresets) {
  const auto path = [](int64_t size, int64_t channels, int64_t kernel, int64_t filters) {
    ConvAttrs attrs;
    attrs.filters = filters;
    attrs.kernel_size = {kernel, kernel};
    attrs.padding = Padding::kSame;
    const ConvGeometry g = make_conv_geometry(attrs, Shape{1, size, size, channels}).value();
    const WindowAxis rows{size, size / 2, 2, 2, 0, 1};
    const ForwardPath inference = choose_forward_path(g, rows, Mode::kInference);
    const ForwardPath training = choose_forward_path(g, rows, Mode::kTraining);
    if (kernel == 5 || winograd_algorithm(g, rows, Mode::kInference).rows != 6) {
      EXPECT_EQ(training, inference);
    }
    if (channels > 4) {
      EXPECT_EQ(choose_winograd_gradient(g, rows), training == ForwardPath::kWinograd || channels > 64);
    }
    return inference;
  };
  EXPECT_EQ(path(96, 3, 3, 16), ForwardPath::kWinograd);
  EXPECT_EQ(path(28, 1, 3, 16), ForwardPath::kDirect) << "transforms would cost what they save";
  EXPECT_EQ(path(28, 5, 3, 16), ForwardPath::kDirect) << "transforms would cost more than they save";
  EXPECT_EQ(path(48, 16, 3, 32), ForwardPath::kWinograd);
  EXPECT_EQ(path(24, 32, 3, 64), ForwardPath::kWinograd);
  EXPECT_EQ(path(12, 64, 5, 128), ForwardPath::kWinograd);
  EXPECT_EQ(path(8, 64, 3, 64), ForwardPath::kWinograd);
  EXPECT_EQ(path(14, 512, 3, 512), ForwardPath::kWinograd);
  EXPECT_EQ(path(12, 65, 5, 128), ForwardPath::kGemm) << "rounding adds up in deep networks";
  EXPECT_EQ(path(12, 64, 1, 128), ForwardPath::kGemm);
  EXPECT_EQ(path(12, 64, 7, 128), ForwardPath::kDirect);
}

}  // namespace
}  // namespace nacre
