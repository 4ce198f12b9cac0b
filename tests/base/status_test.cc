#include "inferd/base/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace inferd {
namespace {

TEST(Status, DetailSurvivesCopyAndPrefix) {
  ErrorDetail detail;
  detail.reason = "QUEUE_FULL";
  detail.retry_after_ms = 1500;
  detail.metadata = {{"queued", "10"}};
  const Status status(StatusCode::kResourceExhausted, "the queue is full", detail);
  const Status copy = status.WithPrefix("chat");
  EXPECT_EQ(copy.ToString(), "RESOURCE_EXHAUSTED: chat: the queue is full");
  ASSERT_NE(copy.detail(), nullptr);
  EXPECT_EQ(copy.detail()->reason, "QUEUE_FULL");
  EXPECT_EQ(copy.detail()->retry_after_ms, 1500);
  EXPECT_EQ(copy.detail()->metadata, detail.metadata);
}

TEST(Status, InvalidFieldNamesTheField) {
  const Status status = InvalidField("top_p", "must be in (0, 1]");
  EXPECT_EQ(status.message(), "top_p: must be in (0, 1]");
  EXPECT_EQ(status.detail()->field, "top_p");
  EXPECT_EQ(status.detail()->reason, "INVALID_PARAMETER");
  EXPECT_EQ(status.detail()->retry_after_ms, -1);
}

StatusOr<std::unique_ptr<int>> Half(int x) {
  if (x % 2 != 0) return InvalidArgumentError("odd");
  return std::make_unique<int>(x / 2);
}

StatusOr<int> Quarter(int x) {
  INFERD_ASSIGN_OR_RETURN(auto half, Half(x));
  INFERD_ASSIGN_OR_RETURN(const auto quarter, Half(*half));
  return *quarter;
}

TEST(StatusOr, CarriesValueOrStatus) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_EQ(Quarter(6).status().detail(), nullptr);
}

}  // namespace
}  // namespace inferd
