// Who overtakes whom, and for how long.
#include <array>
#include <limits>
#include <map>
#include <random>

#include "sched/scheduler_driver.h"

namespace inferd::testing {
namespace {

constexpr int32_t kLowest = std::numeric_limits<int32_t>::max();
constexpr int32_t kHighest = std::numeric_limits<int32_t>::min();

SchedulerOptions OneAtATime(PriorityAgeing ageing) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_running = 1;
  options.ageing = ageing;
  return options;
}

TEST(RankTest, AStepIsWorthItsWaitUpToTheLimit) {
  const PriorityAgeing ageing{10, 25};
  EXPECT_EQ(RankOf(0, 1000, ageing), 1000);
  EXPECT_EQ(RankOf(2, 1000, ageing), 1020);
  EXPECT_EQ(RankOf(-1, 1000, ageing), 990);
  EXPECT_EQ(RankOf(3, 1000, ageing), 1025);
  EXPECT_EQ(RankOf(kLowest, 1000, ageing), 1025);
  EXPECT_EQ(RankOf(kHighest, 1000, ageing), 975);
  constexpr int64_t kDayUs = 86'400'000'000;
  EXPECT_EQ(RankOf(kLowest, 0, {kDayUs, kDayUs}), kDayUs);
  EXPECT_EQ(RankOf(kLowest, 0, {1, kDayUs}), int64_t{kLowest});
  EXPECT_EQ(RankOf(kLowest, 5, {10, 0}), 5);
}

TEST(RankTest, WithoutAStepPriorityIsStrict) {
  EXPECT_EQ(RankOf(3, 1'000'000, {0, 25}), 3);
  EXPECT_EQ(RankOf(kHighest, 0, {0, 25}), int64_t{kHighest});
}

// The time after which a request of the lowest priority is scheduled while one of the
// highest always waits beside it; -1: not within `patience_us`.
int64_t WaitUnderSteadyLoad(PriorityAgeing ageing, int64_t patience_us) {
  SchedulerDriver d(OneAtATime(ageing));
  RequestId id = 1;
  d.Add(id++, 3, 1, kHighest);
  d.Add(id++, 3, 1, kHighest);
  const RequestId low = id++;
  d.Add(low, 3, 1, kLowest);
  while (d.now_us < patience_us) {
    d.Step();
    d.now_us += 10;
    if (d.EndOf(low) != FinishReason::kNone) return d.now_us;
    d.Add(id++, 3, 1, kHighest);
    d.scheduler.ClearOutputs();
  }
  return -1;
}

TEST(FairnessTest, LowPriorityDoesNotStarve) {
  const int64_t waited_us = WaitUnderSteadyLoad({10, 300}, 100'000);
  EXPECT_GE(waited_us, 2 * 300);  // priority does count
  EXPECT_LE(waited_us, 2 * 300 + 50);
}

TEST(FairnessTest, StrictPriorityDoesStarve) {
  EXPECT_EQ(WaitUnderSteadyLoad({0, 300}, 100'000), -1);
}

// A large prompt that does not fit beside what runs is passed by small ones of higher
// priority for as long as they may, and then it has its turn.
TEST(FairnessTest, ALargeHeadIsAdmittedWithinTheAgeLimit) {
  SchedulerOptions options = SmallSchedulerOptions();  // 16 blocks of 4
  options.ageing = {10, 300};
  options.prefix_caching = false;
  SchedulerDriver d(options);
  const RequestId large = 1;
  RequestId id = 2;
  for (int i = 0; i < 3; ++i) d.Add(id++, 9, 8, kHighest);
  d.Add(large, 50, 2, kLowest);
  int overtaken = 0;
  while (d.EndOf(large) == FinishReason::kNone && d.now_us < 100'000) {
    d.Step();
    d.now_us += 10;
    for (RequestId small = 2; small < id; ++small) {
      if (d.EndOf(small) != FinishReason::kNone) ++overtaken;
    }
    if (d.EndOf(large) != FinishReason::kNone) break;
    d.scheduler.ClearOutputs();
    while (d.scheduler.num_requests() < 4) d.Add(id++, 9, 8, kHighest);
  }
  EXPECT_GT(overtaken, 10);
  // Its wait, the answers under way, and its own nine steps.
  EXPECT_LE(d.now_us, 2 * 300 + 40 * 10);
}

// Whatever arrives: nobody is overtaken by one that came more than twice the limit
// later, and nobody by one whose priority is not higher.
TEST(FairnessTest, OvertakingIsBounded) {
  constexpr PriorityAgeing kAgeing{50, 200};
  std::mt19937_64 random(7);
  uint64_t overtakings = 0;
  for (int round = 0; round < 50; ++round) {
    SchedulerDriver d(OneAtATime(kAgeing));
    struct Arrival {
      int64_t at_us;
      int32_t priority;
    };
    std::map<RequestId, Arrival> waiting;
    RequestId id = 1;
    const std::array<int32_t, 7> priorities = {kHighest, -2, -1, 0, 1, 2, kLowest};
    for (int step = 0; step < 300; ++step) {
      d.now_us += static_cast<int64_t>(random() % 20);
      for (uint64_t n = random() % 4; n > 0 && waiting.size() < 60; --n) {
        const int32_t priority = priorities[random() % priorities.size()];
        waiting[id] = {d.now_us, priority};
        d.Add(id++, 3, 1, priority);
      }
      d.scheduler.ClearOutputs();
      d.Step();
      for (const SequenceOutput& output : d.scheduler.outputs()) {
        if (output.finish == FinishReason::kNone) continue;
        const Arrival served = waiting.at(output.request);
        waiting.erase(output.request);
        for (const auto& [other, arrival] : waiting) {
          if (other > output.request) continue;  // came later
          if (arrival.at_us == served.at_us && arrival.priority == served.priority) continue;
          ++overtakings;
          EXPECT_LE(served.at_us - arrival.at_us, 2 * kAgeing.limit_us);
          EXPECT_LT(served.priority, arrival.priority);
        }
      }
    }
  }
  EXPECT_GT(overtakings, 1000U);
}

}  // namespace
}  // namespace inferd::testing
