#include "net/shared_pace.h"

#include <gtest/gtest.h>

namespace inferd::net {
namespace {

TEST(SharedPaceTest, AQuarterOfASecondMayComeAtOnce) {
  SharedPace pace(1'000);
  EXPECT_EQ(pace.Add(250, 0), 0);
  EXPECT_EQ(pace.Add(1, 0), 1);
  EXPECT_EQ(pace.Add(99, 0), 100);
}

TEST(SharedPaceTest, TheRateIsKeptForEver) {
  SharedPace pace(1'000);
  for (int64_t now_ms = 0; now_ms < 10'000; now_ms += 100) EXPECT_EQ(pace.Add(100, now_ms), 0);
}

TEST(SharedPaceTest, NobodyWaitsForMoreThanTheLongestTime) {
  SharedPace pace(1'000);
  for (int i = 0; i < 100; ++i) EXPECT_LE(pace.Add(1'000'000, 0), SharedPace::kMaxWaitMs);
  EXPECT_EQ(pace.Add(1, 0), SharedPace::kMaxWaitMs);
  // What was asked for beyond that is not held against those who come later.
  EXPECT_EQ(pace.Add(1, 2'100), 0);
}

}  // namespace
}  // namespace inferd::net
