#include "engine/image_backward.h"

#include <gtest/gtest.h>

#include "engine/plan.h"

namespace nacre {
namespace {

constexpr int64_t kBatch = 24;

/// Computes nothing; goes image by image in so many chunks.
class ByImages final : public ReferenceOperator<ByImages> {
 public:
  explicit ByImages(int64_t chunks) : chunks_(chunks) { info_.output = Shape{kBatch, 1}; }
  [[nodiscard]] int64_t image_chunks(int64_t /*n*/, bool /*wants_input_gradient*/) const override {
    return chunks_;
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& /*args*/) const {}
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}

 private:
  int64_t chunks_;
};

Unit unit(std::vector<int> inputs, int64_t chunks, bool wants_input_gradient = true) {
  Unit made;
  made.wants_input_gradient.assign(inputs.size(), wants_input_gradient);
  made.inputs = std::move(inputs);
  made.operation = std::make_unique<ByImages>(chunks);
  return made;
}

template <typename... Units>
std::vector<std::pair<size_t, size_t>> choose(Units... units) {
  std::vector<Unit> all;
  (all.push_back(std::move(units)), ...);
  std::vector<std::pair<size_t, size_t>> groups;
  for (const ImageGroup& group : choose_image_groups(all, kBatch))
    groups.emplace_back(group.begin, group.end);
  return groups;
}

using Groups = std::vector<std::pair<size_t, size_t>>;

TEST(ImageGroup, TakesAllThatGoImageByImage) {
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 16), unit({2}, 16)), (Groups{{0, 3}}));
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 16), unit({2}, 0), unit({3}, 16), unit({4}, 16)),
            (Groups{{0, 2}, {3, 5}}));
}

TEST(ImageGroup, NoneForOneUnit) {
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 0), unit({2}, 16)), Groups());
}

TEST(ImageGroup, ChunksAreTheSame) {
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 8), unit({2}, 8)), (Groups{{1, 3}}));
}

TEST(ImageGroup, AGradientThatSeveralWriteIsOfTheWholeBatch) {
  // Value 1 is read by two units; value 3 has a reader that is not its neighbour.
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 16), unit({2}, 16), unit({3, 1}, 16)), (Groups{{1, 3}}));
  EXPECT_EQ(choose(unit({0}, 16, false), unit({0}, 16, false), unit({1}, 16)), Groups());
}

TEST(ImageGroup, WhatNobodyTrainsHasNoGradient) {
  EXPECT_EQ(choose(unit({0}, 16, false), unit({1}, 16, false), unit({2}, 16)), (Groups{{1, 3}}));
}

}  // namespace
}  // namespace nacre
