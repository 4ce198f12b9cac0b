#include "sched/timer_queue.h"

#include "gtest/gtest.h"

namespace inferd {
namespace {

TEST(TimerQueueTest, GivesWhatIsDueInOrder) {
  TimerQueue timers;
  timers.Add(30, 1);
  timers.Add(10, 2);
  timers.Add(20, 3);
  timers.Add(20, 4);
  timers.Remove(20, 4);
  timers.Remove(20, 9);
  RequestId id = 0;
  EXPECT_FALSE(timers.PopDue(9, id));
  EXPECT_TRUE(timers.PopDue(20, id));
  EXPECT_EQ(id, 2U);
  EXPECT_TRUE(timers.PopDue(20, id));
  EXPECT_EQ(id, 3U);
  EXPECT_FALSE(timers.PopDue(20, id));
  EXPECT_EQ(timers.size(), 1U);
}

}  // namespace
}  // namespace inferd
