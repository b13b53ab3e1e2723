#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/vector_math.h"
#include "every_target.h"

namespace nacre {
namespace {

using Array = std::vector<float>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kSlope = 0.25F;
constexpr float kAlpha = 0.75F;

struct Activation {
  const char* name;
  std::function<void(int64_t, const float*, float*)> forward;
  std::function<void(int64_t, const float*, const float*, float*)> backward;
  std::function<double(double)> value;
  std::function<double(double x, double y)> derivative;
  double error;  ///< bound on the value's, relative to the value
};

std::vector<Activation> activations() {
  return {
      {"relu6", relu6_forward, relu6_backward, [](double x) { return x < 0 ? 0 : std::min(x, 6.0); },
       [](double x, double) { return x > 0 && x < 6 ? 1.0 : 0.0; }, 0},
      {"leaky_relu", [](auto n, auto x, auto y) { leaky_relu_forward(n, kSlope, x, y); },
       [](auto n, auto y, auto dy, auto dx) { leaky_relu_backward(n, kSlope, y, dy, dx); },
       [](double x) { return x < 0 ? double{kSlope} * x : x; },
       [](double x, double) { return x > 0 ? 1.0 : double{kSlope}; }, 0},
      {"elu", [](auto n, auto x, auto y) { elu_forward(n, kAlpha, x, y); },
       [](auto n, auto y, auto dy, auto dx) { elu_backward(n, kAlpha, y, dy, dx); },
       [](double x) { return x < 0 ? double{kAlpha} * std::expm1(x) : x; },
       [](double x, double y) { return x > 0 ? 1.0 : y + double{kAlpha}; }, 3e-7},
      {"tanh", tanh_forward, tanh_backward, [](double x) { return std::tanh(x); },
       [](double, double y) { return 1 - y * y; }, 4e-7},
      {"sigmoid", sigmoid_forward, sigmoid_backward, [](double x) { return 1 / (1 + std::exp(-x)); },
       [](double, double y) { return y * (1 - y); }, 3e-7},
  };
}

/// Both signs of all magnitudes, densely where the functions bend, and the edges.
Array arguments() {
  Array x{0.0F, 1.0F, -1.0F, 6.0F, std::nextafter(6.0F, 0.0F), 5e4F, -5e4F};
  for (int i = -4000; i <= 4000; ++i) x.push_back(0.005F * static_cast<float>(i));
  for (float magnitude = 1e-30F; magnitude < 80; magnitude *= 1.37F) {
    x.push_back(magnitude);
    x.push_back(-magnitude);
  }
  return x;
}

TEST(VectorActivations, ErrorsAreBounded) {
  const Array x = arguments();
  const auto n = static_cast<int64_t>(x.size());
  Array dy(x.size());
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = 1.0F + static_cast<float>(i % 7) * 0.3F;
  on_every_target([&] {
    for (const Activation& f : activations()) {
      SCOPED_TRACE(f.name);
      Array y(x.size());
      f.forward(n, x.data(), y.data());
      Array dx(x.size());
      f.backward(n, y.data(), dy.data(), dx.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = f.value(double{x[i]});
        ASSERT_NEAR(double{y[i]}, exact, f.error * std::abs(exact)) << x[i];
        const double gradient = double{dy[i]} * f.derivative(double{x[i]}, double{y[i]});
        ASSERT_NEAR(double{dx[i]}, gradient, 2e-7 * double{dy[i]}) << x[i];
      }
      f.forward(n, x.data(), dx.data());
      EXPECT_EQ(dx, y);
      Array in_place = x;
      f.forward(n, in_place.data(), in_place.data());
      EXPECT_EQ(in_place, y);
    }
  });
}

TEST(VectorActivations, NanStaysNanAndInfinitiesAreLimits) {
  on_every_target([] {
    for (const Activation& f : activations()) {
      SCOPED_TRACE(f.name);
      const Array x{kNan, 1, -kNan, kInf, -kInf};
      Array y(x.size());
      f.forward(std::ssize(x), x.data(), y.data());
      EXPECT_TRUE(std::isnan(y[0]));
      EXPECT_FALSE(std::isnan(y[1]));
      EXPECT_TRUE(std::isnan(y[2]));
      EXPECT_EQ(double{y[3]}, f.value(double{kInf}));
      EXPECT_EQ(double{y[4]}, f.value(-double{kInf}));
    }
  });
}

TEST(VectorActivations, CutsDoNotChangeBits) {
  const Array x = arguments();
  const auto n = static_cast<int64_t>(x.size());
  on_every_target([&] {
    for (const Activation& f : activations()) {
      Array whole(x.size());
      Array whole_gradient(x.size());
      f.forward(n, x.data(), whole.data());
      f.backward(n, whole.data(), x.data(), whole_gradient.data());
      for (const int64_t length : {1, 5, 23}) {
        Array y(x.size());
        Array dx(x.size());
        for (int64_t at = 0; at < n; at += length) {
          const int64_t count = std::min(length, n - at);
          f.forward(count, x.data() + at, y.data() + at);
          f.backward(count, y.data() + at, x.data() + at, dx.data() + at);
        }
        EXPECT_EQ(std::memcmp(y.data(), whole.data(), y.size() * sizeof(float)), 0) << f.name << length;
        EXPECT_EQ(std::memcmp(dx.data(), whole_gradient.data(), dx.size() * sizeof(float)), 0)
            << f.name << length;
      }
    }
  });
}

TEST(VectorActivations, SoftmaxFollowsItsFormula) {
  on_every_target([] {
    for (const int64_t n : {1, 2, 10, 16, 17, 100, 1000}) {
      Array x(static_cast<size_t>(n));
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(3 * i)) * 30 - 20;
      Array y(x.size());
      softmax_forward(n, x.data(), y.data());
      const double largest = double{*std::ranges::max_element(x)};
      double sum = 0;
      for (const float each : x) sum += std::exp(double{each} - largest);
      double dot = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = std::exp(double{x[i]} - largest) / sum;
        // The difference of two floats up to 50 is rounded before the exponential.
        ASSERT_NEAR(double{y[i]}, exact, 5e-6 * exact) << i;
        dot += exact * double{x[i]};
      }
      Array dx(x.size());
      softmax_backward(n, y.data(), x.data(), dx.data());
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(double{dx[i]}, double{y[i]} * (double{x[i]} - dot), 4e-5 * double{y[i]}) << i;
      }
    }
  });
}

TEST(VectorActivations, SoftmaxOfNanAndInfinities) {
  on_every_target([] {
    for (const size_t n : {1U, 3U, 16U, 40U}) {
      for (size_t at = 0; at < n; ++at) {
        Array x(n, 1.0F);
        x[at] = kNan;
        Array y(n);
        softmax_forward(static_cast<int64_t>(n), x.data(), y.data());
        for (const float p : y) EXPECT_TRUE(std::isnan(p));
        if (n == 1) continue;
        x[at] = -kInf;
        softmax_forward(static_cast<int64_t>(n), x.data(), y.data());
        for (size_t i = 0; i < n; ++i) {
          EXPECT_EQ(y[i], i == at ? 0.0F : 1.0F / static_cast<float>(n - 1));
        }
      }
    }
  });
}

}  // namespace
}  // namespace nacre
