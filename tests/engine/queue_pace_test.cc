#include "engine/queue_pace.h"

#include "gtest/gtest.h"

namespace inferd {
namespace {

// `count` departures, each after `wait_us` of waiting and `idle_us` of an empty queue.
int64_t Depart(QueuePace& pace, int count, int64_t wait_us, int64_t idle_us, int64_t now_us) {
  for (int i = 0; i < count; ++i) {
    pace.Advance(now_us += idle_us, /*waited=*/false);
    pace.Advance(now_us += wait_us, /*waited=*/true);
    pace.Depart();
  }
  return now_us;
}

TEST(QueuePaceTest, KnowsNothingAtFirst) {
  QueuePace pace;
  EXPECT_EQ(pace.UsPerRequest(0), 0);
  const int64_t now_us = Depart(pace, QueuePace::kMinDepartures - 1, 1000, 0, 0);
  EXPECT_EQ(pace.UsPerRequest(now_us), 0);
  EXPECT_EQ(pace.UsPerRequest(Depart(pace, 1, 1000, 0, now_us)), 1000);
}

TEST(QueuePaceTest, IdleTimeDoesNotCount) {
  QueuePace pace;
  EXPECT_EQ(pace.UsPerRequest(Depart(pace, 20, 3, 1'000'000, 0)), 3);
}

TEST(QueuePaceTest, FollowsWhatIsRecent) {
  QueuePace pace;
  int64_t now_us = Depart(pace, 100, 10'000, 0, 0);
  EXPECT_EQ(pace.UsPerRequest(now_us), 10'000);
  now_us = Depart(pace, 100, 10, 0, now_us);
  EXPECT_EQ(pace.UsPerRequest(now_us), 10);
  EXPECT_EQ(pace.UsPerRequest(now_us + QueuePace::kMaxAgeUs + 1), 0);
}

TEST(QueuePaceTest, BurstsAreNotOverestimated) {
  QueuePace pace;
  int64_t now_us = 0;
  for (int burst = 0; burst < 10; ++burst) {
    pace.Advance(now_us += 8000, /*waited=*/true);
    for (int i = 0; i < 8; ++i) pace.Depart();
  }
  EXPECT_LE(pace.UsPerRequest(now_us), 1000);
  EXPECT_GE(pace.UsPerRequest(now_us), 700);
}

}  // namespace
}  // namespace inferd
