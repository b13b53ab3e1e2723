#include "train/loss.h"

#include <cmath>
#include <limits>

namespace nacre {
namespace {

struct Case {
  int64_t rows;
  int64_t classes;
  std::vector<float> logits;
  std::vector<int32_t> labels;
};

Case example(int64_t rows, int64_t classes) {
  Case c{rows, classes, {}, {}};
  for (int64_t i = 0; i < rows * classes; ++i)
    c.logits.push_back(static_cast<float>((i * 7919) % 101) / 20.0F - 2.5F);
  for (int64_t i = 0; i < rows; ++i) c.labels.push_back(static_cast<int32_t>((i * 5 + 1) % classes));
  return c;
}

LossResult loss_of(const Case& c, std::vector<float>* grad = nullptr, const LossOptions& options = {}) {
  const Shape shape{c.rows, c.classes};
  TensorView<float> view;
  if (grad != nullptr) {
    grad->assign(c.logits.size(), std::numeric_limits<float>::quiet_NaN());
    view = {grad->data(), shape};
  }
  return softmax_cross_entropy({c.logits.data(), shape}, c.labels, view, options);
}

/// The formula as it stands, in double.
double naive(const std::vector<double>& z, const Case& c, const LossOptions& options = {}) {
  double loss = 0;
  const double s = options.label_smoothing;
  for (int64_t i = 0; i < c.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < c.classes; ++j) sum += std::exp(z[static_cast<size_t>(i * c.classes + j)]);
    const auto label = static_cast<size_t>(c.labels[static_cast<size_t>(i)]);
    const double weight = options.class_weights.empty() ? 1.0 : options.class_weights[label];
    for (int64_t j = 0; j < c.classes; ++j) {
      const double y = (static_cast<size_t>(j) == label ? 1.0 - s : 0.0) + s / static_cast<double>(c.classes);
      loss -= weight * y * (z[static_cast<size_t>(i * c.classes + j)] - std::log(sum));
    }
  }
  return loss / static_cast<double>(c.rows);
}

TEST(Loss, EqualsTheFormula) {
  for (const auto& [rows, classes] : {std::pair{1, 2}, {3, 10}, {7, 5}, {100, 40}}) {
    const Case c = example(rows, classes);
    const double expected = naive({c.logits.begin(), c.logits.end()}, c);
    EXPECT_NEAR(loss_of(c).loss, expected, 1e-12 * std::max(1.0, expected));
  }
}

TEST(Loss, GradientByCentralDifferences) {
  const Case c = example(4, 6);
  std::vector<float> grad;
  const LossResult with = loss_of(c, &grad);
  EXPECT_EQ(with.loss, loss_of(c).loss);
  for (size_t i = 0; i < c.logits.size(); ++i) {
    std::vector<double> z(c.logits.begin(), c.logits.end());
    constexpr double kStep = 1e-5;
    z[i] += kStep;
    const double above = naive(z, c);
    z[i] -= 2 * kStep;
    EXPECT_NEAR(grad[i], (above - naive(z, c)) / (2 * kStep), 1e-7);
  }
}

TEST(Loss, SmoothingAndWeightsFollowTheFormula) {
  const Case c = example(5, 4);
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    for (const std::vector<double>& weights : {std::vector<double>{}, {0.5, 2.0, 1.25, 0.0}}) {
      const LossOptions options{smoothing, weights};
      std::vector<float> grad;
      const std::vector<double> z(c.logits.begin(), c.logits.end());
      EXPECT_NEAR(loss_of(c, &grad, options).loss, naive(z, c, options), 1e-12);
      EXPECT_EQ(loss_of(c, &grad, options).correct, loss_of(c).correct);
      for (size_t i = 0; i < z.size(); ++i) {
        std::vector<double> moved = z;
        constexpr double kStep = 1e-5;
        moved[i] += kStep;
        const double above = naive(moved, c, options);
        moved[i] -= 2 * kStep;
        EXPECT_NEAR(grad[i], (above - naive(moved, c, options)) / (2 * kStep), 1e-7);
      }
    }
  }
}

TEST(Loss, BalancedWeightsAreThoseOfScikitLearn) {
  // compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*6 + [1]*3 + [2]*1): 10 / (3 * count).
  const std::vector<int64_t> counts{6, 3, 1};
  EXPECT_THAT(balanced_class_weights(counts),
              testing::ElementsAre(testing::DoubleEq(10.0 / 18), testing::DoubleEq(10.0 / 9),
                                   testing::DoubleEq(10.0 / 3)));
  const std::vector<int64_t> with_empty{4, 0, 4};
  EXPECT_THAT(balanced_class_weights(with_empty), testing::ElementsAre(1.0, 0.0, 1.0));
}

TEST(Loss, CountsTheRowsThatAreRight) {
  Case c{4, 3, {1, 2, 0, 5, 1, 1, 0, 3, 3, -1, -2, -3}, {1, 1, 1, 0}};
  EXPECT_EQ(loss_of(c).correct, 3);
  c.labels[2] = 2;  // equal to the first largest, but not the first
  EXPECT_EQ(loss_of(c).correct, 2);
}

TEST(Loss, LargeLogitsDoNotOverflow) {
  const Case c{2, 3, {1e4F, 0, -1e4F, 0, 1e4F, 3e38F}, {0, 1}};
  std::vector<float> grad;
  const LossResult result = loss_of(c, &grad);
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_NEAR(result.loss / (3e38 / 2), 1.0, 1e-6);
  EXPECT_THAT(grad, testing::ElementsAre(0, 0, 0, 0, -0.5F, 0.5F));
  EXPECT_EQ(result.correct, 1);
  EXPECT_NEAR(loss_of({1, 2, {1e4F, -1e4F}, {1}}).loss, 2e4, 1e-9);
}

TEST(Loss, OneClassCostsNothing) {
  std::vector<float> grad;
  const LossResult result = loss_of({2, 1, {3.0F, -5.0F}, {0, 0}}, &grad);
  EXPECT_EQ(result.loss, 0.0);
  EXPECT_EQ(result.correct, 2);
  EXPECT_THAT(grad, testing::ElementsAre(0, 0));
}

TEST(Loss, NanAndInfinityAreSeen) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (size_t place = 0; place < 6; ++place) {
    Case c = example(2, 3);
    c.logits[place] = kNan;
    EXPECT_TRUE(std::isnan(loss_of(c).loss)) << place;
    c.logits[place] = kInf;
    EXPECT_FALSE(std::isfinite(loss_of(c).loss)) << place;
  }
}

}  // namespace
}  // namespace nacre
