#include "engine/vector_math.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/random.h"
#include "every_target.h"

namespace nacre {
namespace {

using Array = std::vector<float>;

constexpr int64_t kCount = 67;

Array random_array(uint64_t seed, float least, float range) {
  const RandomStream stream(seed, hash_name(std::string("vector math test")));
  Array x(kCount);
  for (size_t i = 0; i < x.size(); ++i) x[i] = least + range * stream.uniform(i);
  return x;
}

constexpr AdamStep kAdam{
    .step = 0.01F, .beta1 = 0.9F, .beta2 = 0.99F, .epsilon = 1e-3F, .weight_decay = 0.1F};
constexpr SgdStep kMomentum{.learning_rate = 0.1F, .momentum = 0.8F, .weight_decay = 0.05F};

struct State {
  Array gradient = random_array(1, -1, 2);
  Array w = random_array(2, -1, 2);
  Array m = random_array(3, -1, 2);
  Array v = random_array(4, 0, 1);

  void adam(int64_t at, int64_t n) {
    adam_update(n, kAdam, gradient.data() + at, w.data() + at, m.data() + at, v.data() + at);
  }
  void momentum(int64_t at, int64_t n) {
    sgd_update(n, kMomentum, gradient.data() + at, w.data() + at, m.data() + at);
  }
};

TEST(VectorMath, Drop) {
  on_every_target([] {
    const Array x = random_array(5, -1, 2);
    std::vector<uint32_t> bits(x.size());
    RandomStream(3, 1).fill_bits(0, bits.size(), bits.data());
    bits[1] = 0;
    bits[2] = 0xFFFFFFFF;
    bits[3] = 0x80000000;  // the threshold itself is kept
    Array y(x.size());
    drop(kCount, bits.data(), 0x80000000, 2, x.data(), y.data());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], bits[i] < 0x80000000 ? 0.0F : 2 * x[i]) << i;
  });
}

TEST(VectorMath, ScalesBytes) {
  on_every_target([] {
    constexpr int kLevels = 256;
    std::vector<uint8_t> x(2 * kLevels);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i % kLevels);
    constexpr float kScale = 1.0F / 255;
    for (int64_t n = 0; n <= 2 * kLevels; n += n < 80 ? 1 : 61) {
      for (const int64_t from : {0, 1, 5}) {
        if (from + n > 2 * kLevels) continue;
        Array y(static_cast<size_t>(n) + 1, -1.0F);
        scale_bytes(n, x.data() + from, kScale, y.data());
        for (int64_t i = 0; i < n; ++i)
          ASSERT_EQ(y[static_cast<size_t>(i)], static_cast<float>(x[static_cast<size_t>(from + i)]) * kScale)
              << n;
        EXPECT_EQ(y.back(), -1.0F);
      }
    }
  });
}

TEST(VectorMath, Relu) {
  on_every_target([] {
    Array x = random_array(5, -1, 2);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    x.back() = std::numeric_limits<float>::quiet_NaN();
    x[4] = 0;
    Array y(x.size());
    relu_forward(kCount, x.data(), y.data());
    const Array dy = random_array(6, -1, 2);
    Array dx(x.size());
    relu_backward(kCount, y.data(), dy.data(), dx.data());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), std::isnan(x[i])) << i;
      EXPECT_TRUE(std::isnan(x[i]) || y[i] == std::max(x[i], 0.0F)) << i;
      EXPECT_EQ(dx[i], x[i] > 0 ? dy[i] : 0.0F) << i;
    }
    Array in_place = x;
    relu_forward(kCount, in_place.data(), in_place.data());
    EXPECT_EQ(std::memcmp(in_place.data(), y.data(), y.size() * sizeof(float)), 0);
  });
}

TEST(VectorMath, Add) {
  on_every_target([] {
    const Array a = random_array(7, -1, 2);
    const Array b = random_array(8, -1, 2);
    Array sum(a.size());
    add(kCount, a.data(), b.data(), sum.data());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(sum[i], a[i] + b[i]);
    Array in_place = a;
    add(kCount, in_place.data(), b.data(), in_place.data());
    EXPECT_EQ(in_place, sum);
  });
}

TEST(VectorMath, AddRows) {
  on_every_target([] {
    const Array x = random_array(9, -1, 2);
    constexpr size_t kRow = 22;  // a whole vector and a part on every instruction set
    Array sum(kRow, 0.5F);
    add_rows(3, kRow, x.data(), sum.data());
    for (size_t i = 0; i < kRow; ++i) {
      float expected = 0.5F;
      for (size_t r = 0; r < 3; ++r) expected += x[r * kRow + i];
      EXPECT_EQ(sum[i], expected);
    }
  });
}

TEST(VectorMath, AdamFollowsItsFormula) {
  on_every_target([] {
    const State old;
    State now;
    now.adam(0, kCount);
    for (size_t i = 0; i < old.w.size(); ++i) {
      const double g = double{old.gradient[i]} + 0.1 * double{old.w[i]};
      const double m = 0.9 * double{old.m[i]} + 0.1 * g;
      const double v = 0.99 * double{old.v[i]} + 0.01 * g * g;
      EXPECT_NEAR(double{now.m[i]}, m, 5e-7);
      EXPECT_NEAR(double{now.v[i]}, v, 5e-7);
      EXPECT_NEAR(double{now.w[i]}, double{old.w[i]} - 0.01 * m / (std::sqrt(v) + 1e-3), 5e-7);
    }
  });
}

TEST(VectorMath, MomentumFollowsItsFormula) {
  on_every_target([] {
    const State old;
    State now;
    now.momentum(0, kCount);
    for (size_t i = 0; i < old.w.size(); ++i) {
      const double speed = 0.8 * double{old.m[i]} + double{old.gradient[i]} + 0.05 * double{old.w[i]};
      EXPECT_NEAR(double{now.m[i]}, speed, 5e-7);
      EXPECT_NEAR(double{now.w[i]}, double{old.w[i]} - 0.1 * speed, 5e-7);
    }
  });
}

TEST(VectorMath, AdamWTakesTheDecayFromTheWeightAlone) {
  on_every_target([] {
    const State old;
    State now;
    AdamStep adam = kAdam;
    adam.weight_decay = 0;
    adam.decoupled_decay = 0.002F;
    adam_update(kCount, adam, now.gradient.data(), now.w.data(), now.m.data(), now.v.data());
    for (size_t i = 0; i < old.w.size(); ++i) {
      const double g = double{old.gradient[i]};
      const double m = 0.9 * double{old.m[i]} + 0.1 * g;
      const double v = 0.99 * double{old.v[i]} + 0.01 * g * g;
      EXPECT_NEAR(double{now.m[i]}, m, 5e-7);
      EXPECT_NEAR(double{now.w[i]}, 0.998 * double{old.w[i]} - 0.01 * m / (std::sqrt(v) + 1e-3), 5e-7);
    }
  });
}

TEST(VectorMath, NesterovLooksAhead) {
  on_every_target([] {
    const State old;
    State now;
    SgdStep sgd = kMomentum;
    sgd.nesterov = true;
    sgd_update(kCount, sgd, now.gradient.data(), now.w.data(), now.m.data());
    for (size_t i = 0; i < old.w.size(); ++i) {
      const double g = double{old.gradient[i]} + 0.05 * double{old.w[i]};
      const double speed = 0.8 * double{old.m[i]} + g;
      EXPECT_NEAR(double{now.m[i]}, speed, 5e-7);
      EXPECT_NEAR(double{now.w[i]}, double{old.w[i]} - 0.1 * (0.8 * speed + g), 5e-7);
    }
  });
}

TEST(VectorMath, PlainGradientDescentNeedsNoVelocity) {
  on_every_target([] {
    const State old;
    State now;
    sgd_update(kCount, {.learning_rate = 0.1F, .weight_decay = 0.05F}, now.gradient.data(), now.w.data(),
               nullptr);
    for (size_t i = 0; i < old.w.size(); ++i) {
      const double g = double{old.gradient[i]} + 0.05 * double{old.w[i]};
      EXPECT_NEAR(double{now.w[i]}, double{old.w[i]} - 0.1 * g, 5e-7);
    }
  });
}

TEST(VectorMath, CutsDoNotChangeBits) {
  on_every_target([] {
    State whole_adam;
    State whole_momentum;
    whole_adam.adam(0, kCount);
    whole_momentum.momentum(0, kCount);
    for (const int64_t length : {1, 3, 16, 21}) {
      State adam;
      State momentum;
      for (int64_t at = 0; at < kCount; at += length) {
        const int64_t n = std::min(length, kCount - at);
        adam.adam(at, n);
        momentum.momentum(at, n);
      }
      EXPECT_EQ(adam.w, whole_adam.w) << length;
      EXPECT_EQ(adam.m, whole_adam.m) << length;
      EXPECT_EQ(adam.v, whole_adam.v) << length;
      EXPECT_EQ(momentum.w, whole_momentum.w) << length;
      EXPECT_EQ(momentum.m, whole_momentum.m) << length;
    }
  });
}

}  // namespace
}  // namespace nacre
