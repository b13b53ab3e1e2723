#include "engine/status.h"

#include <memory>

namespace nacre {
namespace {

Status fails_when(bool fail) {
  return fail ? Status(StatusCode::kBadData, "reason") : Status();
}

Result<int> half(int value) {
  if (value % 2 != 0) return Status(StatusCode::kUsage, "odd");
  return value / 2;
}

Result<int> quarter(int value) {
  NACRE_ASSIGN_OR_RETURN(const int once, half(value));
  NACRE_ASSIGN_OR_RETURN(const int twice, half(once));
  return twice;
}

Status both(bool first, bool second, int& reached) {
  NACRE_RETURN_IF_ERROR(fails_when(first));
  ++reached;
  NACRE_RETURN_IF_ERROR(fails_when(second));
  ++reached;
  return {};
}

TEST(Status, SuccessIsTheDefault) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().code(), StatusCode::kOk);
  EXPECT_EQ(Status().message(), "");
}

TEST(Status, CodesAreExitCodes) {
  EXPECT_EQ(static_cast<int>(StatusCode::kUsage), 2);
  EXPECT_EQ(static_cast<int>(StatusCode::kBadData), 3);
  EXPECT_EQ(static_cast<int>(StatusCode::kCorrupt), 4);
  EXPECT_EQ(static_cast<int>(StatusCode::kIo), 5);
  EXPECT_EQ(static_cast<int>(StatusCode::kUnsupported), 6);
  EXPECT_EQ(static_cast<int>(StatusCode::kLimit), 7);
  EXPECT_EQ(static_cast<int>(StatusCode::kDiverged), 8);
  EXPECT_EQ(static_cast<int>(StatusCode::kLocked), 75);
  EXPECT_EQ(static_cast<int>(StatusCode::kInterrupted), 130);
  EXPECT_EQ(static_cast<int>(StatusCode::kTerminated), 143);
}

TEST(Status, AtPutsThePlaceBeforeTheReason) {
  const Status status = fails_when(true).at("row 3").at("list.csv");
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "list.csv: row 3: reason");
  EXPECT_TRUE(Status().at("list.csv").ok());
}

TEST(Status, ReturnIfErrorStopsAtTheFirstError) {
  int reached = 0;
  EXPECT_FALSE(both(true, true, reached).ok());
  EXPECT_EQ(reached, 0);
  EXPECT_FALSE(both(false, true, reached).ok());
  EXPECT_EQ(reached, 1);
  EXPECT_TRUE(both(false, false, reached).ok());
  EXPECT_EQ(reached, 3);
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> value = quarter(12);
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 3);
  EXPECT_TRUE(value.status().ok());
  for (const int wrong : {7, 6}) {
    const Result<int> error = quarter(wrong);
    ASSERT_FALSE(error.ok());
    EXPECT_EQ(error.status().code(), StatusCode::kUsage);
    EXPECT_EQ(error.status().message(), "odd");
  }
}

TEST(Result, MovesItsValueOut) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  const std::unique_ptr<int> value = std::move(result).value();
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(*value, 5);
}

}  // namespace
}  // namespace nacre
