#include "engine/shape.h"

#include "engine/shape_text.h"

namespace nacre {
namespace {

Result<Shape> make(const std::vector<int64_t>& dims) {
  return Shape::make(dims);
}

TEST(Shape, AScalarHasOneElement) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().num_elements(), 1);
  EXPECT_EQ(Shape().to_string(), "[]");
}

TEST(Shape, AMessageNamesTheBatchByALetter) {
  EXPECT_EQ(batch_shape(Shape{100, 8, 8, 3}), "[N, 8, 8, 3]");
  EXPECT_EQ(batch_shape(Shape{100}), "[N]");
  EXPECT_EQ(batch_shape(Shape()), "[]");
}

TEST(Shape, MakeKeepsExtents) {
  const auto shape = make({2, 3, 5, 7});
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(*shape, (Shape{2, 3, 5, 7}));
  EXPECT_EQ(shape->num_elements(), 210);
  EXPECT_EQ(shape->elements_per_row(), 105);
  EXPECT_EQ(shape->with_batch(4), (Shape{4, 3, 5, 7}));
  EXPECT_EQ(shape->to_string(), "[2, 3, 5, 7]");
  EXPECT_EQ((*shape)[3], 7);
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_FALSE((Shape{2}) == (Shape{2, 1}));
  EXPECT_FALSE(Shape{} == Shape{1});
}

TEST(Shape, AProductThatWrapsAroundIsRefused) {
  // In 64 bits the product of these is 4: a check after the multiplication would not see it.
  const auto shape = make({4194305, 4194305, 211106198978564});
  ASSERT_FALSE(shape.ok());
  EXPECT_EQ(shape.status().code(), StatusCode::kBadData);
  EXPECT_NE(shape.status().message().find("[4194305, 4194305, 211106198978564]"), std::string::npos);
  EXPECT_FALSE(make({int64_t{1} << 62, 4}).ok());
  EXPECT_FALSE(make({INT64_MAX}).ok());
  EXPECT_FALSE(make({INT64_MAX, INT64_MAX, 2}).ok());
}

TEST(Shape, TheLimitIsExact) {
  EXPECT_TRUE(make({int64_t{1} << 24, int64_t{1} << 24}).ok());
  EXPECT_FALSE(make({int64_t{1} << 24, (int64_t{1} << 24) + 1}).ok());
  EXPECT_TRUE(make({Shape::kMaxElements}).ok());
  EXPECT_FALSE(make({Shape::kMaxElements + 1}).ok());
}

TEST(Shape, AnEmptyExtentDoesNotHideAnOverflow) {
  EXPECT_TRUE(make({0, 5}).ok());
  EXPECT_EQ(make({0, 5})->num_elements(), 0);
  EXPECT_FALSE(make({0, int64_t{1} << 40, int64_t{1} << 40}).ok());
  EXPECT_FALSE(make({int64_t{1} << 40, int64_t{1} << 40, 0}).ok());
}

TEST(Shape, NegativeExtentsAreRefused) {
  for (const auto& dims : std::vector<std::vector<int64_t>>{{-1}, {2, -3}, {-2, -2}, {INT64_MIN}}) {
    const auto shape = make(dims);
    ASSERT_FALSE(shape.ok());
    EXPECT_EQ(shape.status().code(), StatusCode::kBadData);
    EXPECT_NE(shape.status().message().find("negative"), std::string::npos);
  }
}

TEST(Shape, RanksGoUpToEight) {
  EXPECT_TRUE(make(std::vector<int64_t>(8, 2)).ok());
  const auto shape = make(std::vector<int64_t>(9, 1));
  ASSERT_FALSE(shape.ok());
  EXPECT_EQ(shape.status().message(), "a shape of rank 9 (the most is 8)");
}

}  // namespace
}  // namespace nacre
