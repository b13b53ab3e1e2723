#include "engine/gradient_places.h"

#include <gmock/gmock.h>

#include <cstdint>

#include "engine/random.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

TEST(GradientPlaces, WhatIsNotInPlaceHasBuffersOfItsOwn) {
  EXPECT_THAT(share_gradients({{{}, false}, {{1}, false}, {{1, 2}, false}}), ElementsAre(0, 1, 2, 3));
}

TEST(GradientPlaces, AChainInPlaceHasOne) {
  // The last value's gradient is not the plan's.
  EXPECT_THAT(share_gradients({{{}, false}, {{1}, true}, {{2}, true}, {{3}, true}}),
              ElementsAre(0, 3, 3, 3, 4));
}

TEST(GradientPlaces, ABlockAddsToWhatPassesBy) {
  // 1 = a, 2 = conv(1), 3 = norm(2), 4 = 1 + 3, 5 = conv(4): the gradients of 1 and 3 are that of 4. norm
  // reads it before conv adds to it, but must not overwrite it.
  EXPECT_THAT(share_gradients({{{}, false}, {{1}, false}, {{2}, true}, {{1, 3}, true}, {{4}, false}}),
              ElementsAre(0, 4, 2, 4, 4, 5));
}

TEST(GradientPlaces, NothingIsAddedToWhatIsStillRead) {
  // 1 = a, 2 = conv(1), 3 = 1 + 2, 4 = conv(3): the gradient of 2 is read while conv adds to that of 1.
  EXPECT_THAT(share_gradients({{{}, false}, {{1}, false}, {{1, 2}, true}, {{3}, false}}),
              ElementsAre(0, 3, 2, 3, 4));
  // 3 = 1 + 1 adds at once.
  EXPECT_THAT(share_gradients({{{}, false}, {{1}, false}, {{1, 1, 2}, true}, {{3}, false}}),
              ElementsAre(0, 3, 2, 3, 4));
}

/// What each operator finds as its value's gradient when backward runs with these buffers; numbers stand for
/// arrays.
std::vector<uint64_t> run(const std::vector<GradientWrites>& operators, const std::vector<int>& places) {
  std::vector<uint64_t> buffers(operators.size() + 1);
  std::vector<bool> written(buffers.size());
  std::vector<uint64_t> found;
  const auto buffer = [&](int value) -> uint64_t& {
    return buffers[static_cast<size_t>(places[static_cast<size_t>(value)])];
  };
  for (size_t i = operators.size(); i-- > 0;) {
    const bool last = i + 1 == operators.size();
    const uint64_t gradient = last ? 1 : buffer(static_cast<int>(i) + 1);
    found.push_back(gradient);
    std::vector<int> added;
    for (size_t k = 0; k < operators[i].values.size(); ++k) {
      const int value = operators[i].values[k];
      if (written[static_cast<size_t>(value)]) {
        added.push_back(value);
      } else {
        buffer(value) = gradient * 3 + i + (operators[i].in_place ? 0 : k);
        written[static_cast<size_t>(value)] = true;
      }
    }
    for (const int value : added) buffer(value) += gradient * 3 + i;
  }
  return found;
}

TEST(GradientPlaces, NoGraphReadsSomethingElse) {
  int shared = 0;
  for (uint64_t graph = 0; graph < 3000; ++graph) {
    const RandomStream random(7, graph);
    uint64_t next = 0;
    const auto below = [&](uint64_t n) { return static_cast<int>(random.below(next++, n)); };
    std::vector<GradientWrites> operators(1);
    const int count = 2 + below(12);
    for (int i = 1; i < count; ++i) {
      GradientWrites writes;
      writes.in_place = below(2) == 0;
      const int inputs = 1 + below(3);
      // Values near by: chains are more common than what jumps far.
      for (int k = 0; k < inputs; ++k)
        writes.values.push_back(std::max(1, i - below(1 + static_cast<uint64_t>(below(5)))));
      operators.push_back(writes);
    }
    std::vector<int> apart(operators.size() + 1);
    for (size_t i = 0; i < apart.size(); ++i) apart[i] = static_cast<int>(i);
    const std::vector<int> places = share_gradients(operators);
    if (places != apart) ++shared;
    ASSERT_EQ(run(operators, places), run(operators, apart)) << "graph " << graph;
  }
  EXPECT_GT(shared, 1000);
}

}  // namespace
}  // namespace nacre
