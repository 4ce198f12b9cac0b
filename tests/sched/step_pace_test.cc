#include "sched/step_pace.h"

#include <gtest/gtest.h>

#include "sched/scheduler_driver.h"

namespace inferd {
namespace {

using testing::SchedulerDriver;

TEST(StepPaceTest, KnowsNothingAtFirst) {
  const StepPace pace;
  EXPECT_EQ(pace.Predict(100), 0);
  EXPECT_EQ(pace.MostTokens(1, 512), 512);
}

TEST(StepPaceTest, LearnsTheLine) {
  StepPace pace;
  for (int i = 0; i < 100; ++i) {
    const int32_t tokens = i % 4 == 0 ? 300 : 16 + i % 7;
    pace.Observe(tokens, 30'000 + 2'000 * tokens);
  }
  EXPECT_NEAR(pace.Predict(0), 30'000, 300);
  EXPECT_NEAR(pace.Predict(100), 230'000, 2'300);
  EXPECT_NEAR(pace.MostTokens(230'000, 512), 100, 1);
  EXPECT_EQ(pace.MostTokens(10'000'000, 512), 512);
  EXPECT_EQ(pace.MostTokens(20'000, 512), 0);
}

TEST(StepPaceTest, FollowsAChange) {
  StepPace pace;
  for (int i = 0; i < 200; ++i) pace.Observe(10 + i % 100, 1'000 * (10 + i % 100));
  for (int i = 0; i < 200; ++i) pace.Observe(10 + i % 100, 3'000 * (10 + i % 100));
  EXPECT_NEAR(pace.Predict(50), 150'000, 15'000);
}

TEST(StepPaceTest, StepsThatAreAllAlikeCountAsAllPerToken) {
  StepPace pace;
  for (int i = 0; i < 20; ++i) pace.Observe(16, 32'000);
  EXPECT_NEAR(pace.MostTokens(100'000, 512), 50, 1);
}

TEST(StepPaceTest, OneStepThatTookAgesDoesNotDecide) {
  StepPace pace;
  for (int i = 0; i < 100; ++i) pace.Observe(10 + i % 100, 1'000 * (10 + i % 100));
  const double before = pace.Predict(50);
  pace.Observe(50, 3'600'000'000);
  EXPECT_LT(pace.Predict(50), 1.2 * before);
}

// Larger steps that happen to be quicker: no slope below zero, no negative times.
TEST(StepPaceTest, ChanceGivesNoNonsense) {
  StepPace pace;
  for (int i = 0; i < 50; ++i) pace.Observe(10 + i % 50, 100'000 - 1'000 * (i % 50));
  EXPECT_GT(pace.Predict(0), 0);
  EXPECT_GT(pace.Predict(1000), 0);
  EXPECT_GE(pace.MostTokens(50'000, 512), 0);
}

SchedulerOptions Wide() {
  SchedulerOptions o;
  o.num_blocks = 4097;
  o.block_size = 4;
  o.max_running = 8;
  o.max_batched_tokens = 512;
  o.max_model_len = 4096;
  o.mixed_step_us = 100'000;
  return o;
}

// Steps take 10 ms and 1 ms per token.
int64_t StepUs(int32_t tokens) { return 10'000 + 1'000 * tokens; }

int32_t StepAndObserve(SchedulerDriver& driver) {
  const auto plan = driver.Step();
  if (plan == nullptr) return 0;
  driver.scheduler.ObserveStep(plan->NumTokens(), StepUs(plan->NumTokens()));
  return plan->NumTokens();
}

TEST(MixedStepTest, PromptsComeInPiecesWhileSomebodyDecodes) {
  SchedulerDriver driver(Wide());
  driver.Add(1, 400, 500);
  EXPECT_EQ(StepAndObserve(driver), 400);  // alone: nobody waits for a next token
  for (int i = 0; i < 5; ++i) EXPECT_EQ(StepAndObserve(driver), 1);
  driver.Add(2, 1000, 10);
  int32_t done = 0;
  int steps = 0;
  while (done < 1000) {
    const int32_t tokens = StepAndObserve(driver);
    EXPECT_LE(StepUs(tokens), 110'000) << "step " << steps;
    EXPECT_GE(tokens, 17);
    done += tokens - 1;
    ASSERT_LT(++steps, 20);
  }
}

TEST(MixedStepTest, WithoutALimitTheBudgetDecides) {
  SchedulerOptions options = Wide();
  options.mixed_step_us = 0;
  SchedulerDriver driver(options);
  driver.Add(1, 400, 500);
  for (int i = 0; i < 5; ++i) StepAndObserve(driver);
  driver.Add(2, 1000, 10);
  EXPECT_EQ(StepAndObserve(driver), 512);
}

// Where decodes alone take longer than the limit, prompts still get as much time as they.
TEST(MixedStepTest, SlowDecodesDoNotStarvePrompts) {
  SchedulerOptions options = Wide();
  options.mixed_step_us = 1'000;
  SchedulerDriver driver(options);
  driver.Add(1, 4, 500);
  const auto step = [&driver](int64_t per_step, int64_t per_token) {
    const auto plan = driver.Step();
    driver.scheduler.ObserveStep(plan->NumTokens(), per_step + per_token * plan->NumTokens());
    return plan->NumTokens();
  };
  for (int i = 0; i < 5; ++i) step(100'000, 1'000);
  driver.Add(2, 2000, 10);
  int32_t largest = 0;
  for (int i = 0; i < 10; ++i) largest = std::max(largest, step(100'000, 1'000));
  EXPECT_GE(largest, 90);
  EXPECT_LE(largest, 130);
}

// Whatever the clock says, a prompt of n tokens is through after n / 16 steps.
TEST(MixedStepTest, ABrokenClockDoesNotStarvePrompts) {
  SchedulerDriver driver(Wide());
  driver.Add(1, 4, 500);
  for (int i = 0; i < 5; ++i) StepAndObserve(driver);
  driver.Add(2, 160, 10);
  int32_t done = 0;
  int steps = 0;
  while (done < 160) {
    const auto plan = driver.Step();
    done += plan->NumTokens() - 1;
    driver.scheduler.ObserveStep(plan->NumTokens(), 3'600'000'000);
    ASSERT_LE(++steps, 10);
  }
}

}  // namespace
}  // namespace inferd
