#include "inferd/base/hang_counter.h"

#include "gtest/gtest.h"

namespace inferd {
namespace {

constexpr int64_t kLookUs = 50'000;

TEST(HangCounterTest, OnlyTimeItWasAwakeForCounts) {
  HangCounter counter(kLookUs);
  counter.Look(kLookUs, -1);
  counter.Look(60'000'000, -1);
  EXPECT_EQ(counter.counted_us(), 3 * kLookUs);
  counter.Restart();
  EXPECT_EQ(counter.counted_us(), 0);
}

TEST(HangCounterTest, TimeInWhichItReadFromDiskDoesNotCount) {
  HangCounter counter(kLookUs);
  counter.Look(kLookUs, 1000);  // what was before is not known
  EXPECT_EQ(counter.counted_us(), kLookUs);
  for (int64_t bytes = 1001; bytes < 1200; ++bytes) counter.Look(kLookUs, bytes);
  EXPECT_EQ(counter.counted_us(), kLookUs);
  counter.Look(kLookUs, 1199);
  counter.Look(kLookUs, -1);
  EXPECT_EQ(counter.counted_us(), 3 * kLookUs);
  counter.Restart();
  counter.Look(kLookUs, 1300);  // read for what was waited for before
  EXPECT_EQ(counter.counted_us(), kLookUs);
}

// Who reads for ever hangs as well.
TEST(HangCounterTest, ReadingExcusesAMinute) {
  HangCounter counter(kLookUs);
  constexpr int64_t kLooks = HangCounter::kMostExcusedUs / kLookUs + 100;
  for (int64_t look = 0; look <= kLooks; ++look) counter.Look(kLookUs, look);
  EXPECT_EQ(counter.counted_us(), 101 * kLookUs);
}

}  // namespace
}  // namespace inferd
