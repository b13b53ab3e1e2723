#include "layers/outer_products.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/isa.h"
#include "engine/random.h"

namespace nacre {
namespace {

// Lines of a, b and c that have more room than they need; what lies between them must stay as it is.
void check(uint64_t shape) {
  const RandomStream random(7, shape);
  uint64_t next = 0;
  const auto between = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random.below(next++, static_cast<uint64_t>(most - least + 1)));
  };
  OuterProducts p;
  p.m = between(1, 40);
  p.n = between(1, 70);
  p.rows = between(1, 4);
  p.columns = between(1, 30);
  // The a of neighbours may overlap.
  p.a_column = between(0, p.m);
  p.a_row = between(0, 2 * p.m);
  p.b_column = p.n + between(0, 3);
  p.b_row = p.columns * p.b_column + between(0, 3);
  p.c_row = p.n + between(0, 3);
  p.accumulate = between(0, 1) == 1;
  const auto draw = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = random.truncated_normal(next++);
    return values;
  };
  const std::vector<float> a = draw((p.rows - 1) * p.a_row + (p.columns - 1) * p.a_column + p.m);
  const std::vector<float> b = draw((p.rows - 1) * p.b_row + (p.columns - 1) * p.b_column + p.n);
  std::vector<float> c = draw((p.m - 1) * p.c_row + p.n);
  const std::vector<float> before = c;
  p.a = a.data();
  p.b = b.data();
  p.c = c.data();
  add_outer_products(p);
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.c_row && i * p.c_row + j < static_cast<int64_t>(c.size()); ++j) {
      const auto at = static_cast<size_t>(i * p.c_row + j);
      if (j >= p.n) {
        ASSERT_EQ(c[at], before[at]) << "written between the lines";
        continue;
      }
      double sum = p.accumulate ? static_cast<double>(before[at]) : 0.0;
      for (int64_t y = 0; y < p.rows; ++y) {
        for (int64_t x = 0; x < p.columns; ++x) {
          sum += static_cast<double>(a[static_cast<size_t>(y * p.a_row + x * p.a_column + i)]) *
                 static_cast<double>(b[static_cast<size_t>(y * p.b_row + x * p.b_column + j)]);
        }
      }
      ASSERT_NEAR(c[at], sum, 1e-4) << i << ' ' << j << " of " << p.m << " x " << p.n;
    }
  }
}

TEST(OuterProducts, AreWhatTheyAreOnEveryInstructionSet) {
  for (const std::string& isa : usable_isa_names()) {
    if (isa == "reference") continue;
    use_isa(Isa::kBest);  // what is forced hides what is better
    use_isa(parse_isa(isa).value());
    for (uint64_t shape = 0; shape < 200; ++shape) {
      SCOPED_TRACE(isa);
      check(shape);
      if (HasFatalFailure()) break;
    }
  }
  use_isa(Isa::kBest);
}

}  // namespace
}  // namespace nacre
