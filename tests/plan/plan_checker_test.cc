#include "inferd/plan/plan_checker.h"

#include <string>

#include "gtest/gtest.h"

namespace inferd {
namespace {

constexpr PlanLimits kLimits{.num_blocks = 10,
                             .block_size = 4,
                             .num_slots = 3,
                             .max_batched_tokens = 8,
                             .max_model_len = 16};

// A plan that starts a sequence of `num_tokens` tokens on `slot` with `blocks`.
BatchPlan Start(StepId step, SlotId slot, int32_t num_tokens, int32_t count,
                std::vector<BlockId> blocks) {
  BatchPlan plan;
  plan.step = step;
  plan.tokens.assign(static_cast<size_t>(num_tokens), 7);
  plan.admitted.push_back({.slot = slot,
                           .first_token = 0,
                           .num_tokens = num_tokens,
                           .num_prompt = num_tokens,
                           .sampling = {}});
  plan.new_blocks = std::move(blocks);
  StepEntry entry;
  entry.slot = slot;
  entry.count = count;
  entry.num_new_blocks = static_cast<uint16_t>(plan.new_blocks.size());
  entry.sample = count == num_tokens ? 1 : 0;
  plan.entries.push_back(entry);
  return plan;
}

BatchPlan Next(StepId step, SlotId slot, int32_t start, std::vector<BlockId> blocks = {}) {
  BatchPlan plan;
  plan.step = step;
  plan.new_blocks = std::move(blocks);
  StepEntry entry;
  entry.slot = slot;
  entry.start = start;
  entry.count = 1;
  entry.num_new_blocks = static_cast<uint16_t>(plan.new_blocks.size());
  entry.sample = 1;
  entry.input_on_device = 1;
  plan.entries.push_back(entry);
  return plan;
}

// The sequence {slot 0, 5 tokens, blocks 3 and 5} computed in step 1.
PlanChecker Started() {
  PlanChecker checker(kLimits);
  EXPECT_TRUE(checker.Apply(Start(1, 0, 5, 5, {3, 5})).ok());
  return checker;
}

void ExpectRefused(PlanChecker checker, const BatchPlan& plan, const std::string& why) {
  const Status status = checker.Apply(plan);
  ASSERT_FALSE(status.ok()) << "expected: " << why;
  EXPECT_NE(status.message().find(why), std::string::npos) << status.ToString();
}

TEST(PlanCheckerTest, FollowsASequence) {
  PlanChecker checker = Started();
  EXPECT_EQ(checker.table(0), (std::vector<BlockId>{3, 5}));
  EXPECT_TRUE(checker.Apply(Next(2, 0, 5)).ok());
  EXPECT_TRUE(checker.Apply(Next(3, 0, 6)).ok());
  EXPECT_TRUE(checker.Apply(Next(4, 0, 7)).ok());
  EXPECT_TRUE(checker.Apply(Next(5, 0, 8, {1})).ok());
  BatchPlan plan = Start(6, 0, 5, 5, {3, 5});
  plan.released = {0};
  EXPECT_TRUE(checker.Apply(plan).ok());
}

TEST(PlanCheckerTest, FollowsChunksAndCachedPrefixes) {
  PlanChecker checker(kLimits);
  EXPECT_TRUE(checker.Apply(Start(1, 0, 12, 8, {1, 2, 3})).ok());
  BatchPlan rest = Next(2, 0, 8);
  rest.entries[0].count = 4;
  rest.entries[0].input_on_device = 0;
  EXPECT_TRUE(checker.Apply(rest).ok());
  BatchPlan cached = Start(3, 1, 9, 1, {1, 2, 4});
  cached.entries[0].start = 8;
  cached.entries[0].sample = 1;
  EXPECT_TRUE(checker.Apply(cached).ok());
}

TEST(PlanCheckerTest, RefusesStepsOutOfOrderAndEmptyPlans) {
  ExpectRefused(Started(), Next(3, 0, 5), "follow one another");
  BatchPlan empty;
  empty.step = 2;
  ExpectRefused(Started(), empty, "no entries");
}

TEST(PlanCheckerTest, RefusesWrongSlots) {
  BatchPlan twice = Next(2, 0, 5);
  twice.entries.push_back(twice.entries[0]);
  ExpectRefused(Started(), twice, "P1");
  ExpectRefused(Started(), Next(2, 1, 0), "not live");
  ExpectRefused(Started(), Next(2, 3, 0), "does not exist");
  ExpectRefused(Started(), Start(2, 0, 5, 5, {1, 2}), "admitted but live");
  BatchPlan released = Next(2, 0, 5);
  released.released = {1};
  ExpectRefused(Started(), released, "released but not live");
}

TEST(PlanCheckerTest, RefusesReleaseInFlight) {
  PlanChecker checker = Started();
  checker.SetCompleted(0);
  BatchPlan plan = Start(2, 1, 2, 2, {7});
  plan.released = {0};
  ExpectRefused(checker, plan, "P3");
  checker.SetCompleted(1);
  EXPECT_TRUE(checker.Apply(plan).ok());
}

TEST(PlanCheckerTest, RefusesOverBudget) {
  PlanChecker checker(kLimits);
  EXPECT_TRUE(checker.Apply(Start(1, 0, 8, 8, {1, 2})).ok());
  ExpectRefused(PlanChecker(kLimits), Start(1, 0, 9, 9, {1, 2, 3}), "P2");
}

TEST(PlanCheckerTest, RefusesWrongPositions) {
  ExpectRefused(Started(), Next(2, 0, 4), "start where it ended");
  BatchPlan far = Next(2, 0, 5);
  far.entries[0].count = 2;
  ExpectRefused(Started(), far, "past its history");
  BatchPlan silent = Next(2, 0, 5);
  silent.entries[0].sample = 0;
  ExpectRefused(Started(), silent, "samples");
  BatchPlan empty = Next(2, 0, 5);
  empty.entries[0].count = 0;
  ExpectRefused(Started(), empty, "empty entry");
  BatchPlan early = Start(1, 0, 5, 3, {1, 2});
  early.entries[0].sample = 1;
  ExpectRefused(PlanChecker(kLimits), early, "samples");
  BatchPlan within = Start(1, 0, 5, 2, {1, 2});
  within.entries[0].start = 3;
  within.entries[0].sample = 1;
  ExpectRefused(PlanChecker(kLimits), within, "inside of a block");
  BatchPlan device = Start(1, 0, 1, 1, {1});
  device.entries[0].input_on_device = 1;
  ExpectRefused(PlanChecker(kLimits), device, "the host knows");
}

TEST(PlanCheckerTest, RefusesWrongBlocks) {
  ExpectRefused(PlanChecker(kLimits), Start(1, 0, 5, 5, {1}), "too few blocks");
  ExpectRefused(PlanChecker(kLimits), Start(1, 0, 5, 5, {0, 1}), "does not exist");
  ExpectRefused(PlanChecker(kLimits), Start(1, 0, 5, 5, {1, 10}), "does not exist");
  ExpectRefused(Started(), Start(2, 1, 5, 5, {1, 5}), "another table");
  BatchPlan outside = Next(2, 0, 5, {1});
  outside.entries[0].first_new_block = 1;
  ExpectRefused(Started(), outside, "outside of the plan");
}

TEST(PlanCheckerTest, RefusesWrongHistories) {
  BatchPlan tokens = Start(1, 0, 5, 5, {1, 2});
  tokens.tokens.pop_back();
  ExpectRefused(PlanChecker(kLimits), tokens, "outside of the plan");
  BatchPlan prompt = Start(1, 0, 5, 5, {1, 2});
  prompt.admitted[0].num_prompt = 6;
  ExpectRefused(PlanChecker(kLimits), prompt, "impossible length");
  ExpectRefused(PlanChecker(kLimits), Start(1, 0, 16, 8, {1, 2, 3, 4}), "impossible length");
  BatchPlan unused = Start(1, 0, 5, 5, {1, 2});
  unused.admitted.push_back(unused.admitted[0]);
  unused.admitted[1].slot = 1;
  ExpectRefused(PlanChecker(kLimits), unused, "has no entry");
}

TEST(PlanSummaryTest, IsOneLine) {
  BatchPlan plan = Start(7, 2, 5, 5, {1, 2});
  plan.released = {1};
  EXPECT_EQ(PlanSummary(plan),
            "step 7: -1 slots, +1 seqs (5 tokens), 1 entries, 5 tokens, 1 samples, 2 blocks | "
            "2:0+5*");
  EXPECT_EQ(PlanSummary(plan, 0).substr(PlanSummary(plan, 0).find('|')), "| …");
}

}  // namespace
}  // namespace inferd
