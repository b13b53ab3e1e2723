#include "engine/variable_store.h"

namespace nacre {
namespace {

Tensor filled(const Shape& shape, float value) {
  Tensor tensor(shape);
  std::fill_n(tensor.data(), tensor.size(), value);
  return tensor;
}

TEST(VariableStore, FindsWhatWasAdded) {
  VariableStore store;
  ASSERT_TRUE(store.add("b/kernel", filled(Shape{2, 3}, 1.0F)).ok());
  ASSERT_TRUE(store.add("a/kernel", filled(Shape{4}, 2.0F)).ok());
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(store.num_elements(), 10);
  ASSERT_NE(store.find("a/kernel"), nullptr);
  EXPECT_EQ(store.find("a/kernel")->data()[3], 2.0F);
  EXPECT_EQ(store.find("a"), nullptr);
  EXPECT_EQ(store.tensors().begin()->first, "a/kernel");
}

TEST(VariableStore, ANameIsTakenOnce) {
  VariableStore store;
  ASSERT_TRUE(store.add("a/kernel", filled(Shape{1}, 1.0F)).ok());
  const Status again = store.add("a/kernel", filled(Shape{2}, 2.0F));
  EXPECT_EQ(again.code(), StatusCode::kBadData);
  EXPECT_NE(again.message().find("\"a/kernel\""), std::string::npos);
  EXPECT_EQ(store.find("a/kernel")->shape(), Shape{1});
  EXPECT_EQ(store.find("a/kernel")->data()[0], 1.0F);
}

TEST(VariableStore, TensorsStayInPlaceWhenOthersAreAdded) {
  VariableStore store;
  ASSERT_TRUE(store.add("m", filled(Shape{1}, 1.0F)).ok());
  const Tensor* tensor = store.find("m");
  const float* data = tensor->data();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(store.add(std::to_string(i), Tensor(Shape{1})).ok());
  EXPECT_EQ(store.find("m"), tensor);
  EXPECT_EQ(tensor->data(), data);
}

TEST(VariableStore, ASlotIsNamedAfterItsVariable) {
  VariableStore store;
  for (const char* name : {"conv1/kernel", "conv1/kernel/adam_m", "lone"})
    ASSERT_TRUE(store.add(name, Tensor(Shape{1})).ok());
  EXPECT_TRUE(store.is_slot("conv1/kernel/adam_m"));
  EXPECT_FALSE(store.is_slot("conv1/kernel"));
  EXPECT_FALSE(store.is_slot("lone"));
  EXPECT_FALSE(store.is_slot("lone/x/y"));
}

TEST(VariableStore, ACloneIsIndependent) {
  VariableStore store;
  ASSERT_TRUE(store.add("a", filled(Shape{2}, 1.0F)).ok());
  VariableStore copy = store.clone();
  copy.find("a")->data()[1] = 9.0F;
  ASSERT_TRUE(copy.add("b", Tensor(Shape{1})).ok());
  EXPECT_EQ(store.find("a")->data()[1], 1.0F);
  EXPECT_EQ(store.size(), 1U);
}

}  // namespace
}  // namespace nacre
