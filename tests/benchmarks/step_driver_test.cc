#include "engine_bench/step_driver.h"

#include <deque>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace inferd::bench {
namespace {

// Keeps the plans and answers a token for each that asks for one.
class FakeExecutor final : public Executor {
 public:
  void Submit(std::shared_ptr<const BatchPlan> plan) override {
    plans.push_back(plan);
    waiting_.push_back(std::move(plan));
    EXPECT_LE(waiting_.size(), 2U);
  }
  StepResult Await() override {
    StepResult result;
    for (const StepEntry& entry : waiting_.front()->entries) {
      if (entry.sample == 0) continue;
      StepOutput output;
      output.slot = entry.slot;
      output.corrupted = corrupted;
      result.outputs.push_back(output);
    }
    waiting_.pop_front();
    return result;
  }
  int max_in_flight() const override { return 2; }

  std::vector<std::shared_ptr<const BatchPlan>> plans;
  bool corrupted = false;

 private:
  std::deque<std::shared_ptr<const BatchPlan>> waiting_;
};

std::vector<std::vector<TokenId>> Prompts(size_t count, size_t length) {
  return std::vector<std::vector<TokenId>>(count, std::vector<TokenId>(length, 7));
}

TEST(StepDriver, FillsStepsAndSamplesAtTheEndOfEachPrompt) {
  FakeExecutor executor;
  StepDriver driver(executor, {3, 32, 16, 100, 2});
  ASSERT_TRUE(driver.Prefill(Prompts(3, 20)).ok());
  ASSERT_EQ(executor.plans.size(), 2U);
  EXPECT_EQ(executor.plans[0]->NumTokens(), 32);
  EXPECT_EQ(executor.plans[1]->NumTokens(), 28);
  const BatchPlan& first = *executor.plans[0];
  const BatchPlan& second = *executor.plans[1];
  ASSERT_EQ(first.entries.size(), 2U);
  EXPECT_EQ(first.entries[0].sample, 1);
  EXPECT_EQ(first.entries[1].count, 12);
  EXPECT_EQ(first.entries[1].sample, 0);
  ASSERT_EQ(second.entries.size(), 2U);
  EXPECT_EQ(second.entries[0].start, 12);
  EXPECT_EQ(second.entries[0].count, 8);
  EXPECT_EQ(second.entries[0].sample, 1);
  EXPECT_EQ(second.admitted.size(), 1U);  // the third starts here
}

TEST(StepDriver, DecodeContinuesOnTheDeviceWithABlockWhenNeeded) {
  FakeExecutor executor;
  StepDriver driver(executor, {2, 64, 16, 100, 2});
  ASSERT_TRUE(driver.Prefill(Prompts(2, 15)).ok());
  ASSERT_TRUE(driver.Decode(3).ok());
  ASSERT_EQ(executor.plans.size(), 4U);
  std::vector<BlockId> seen;
  for (size_t i = 1; i < 4; ++i) {
    const BatchPlan& plan = *executor.plans[i];
    ASSERT_EQ(plan.entries.size(), 2U);
    for (const StepEntry& entry : plan.entries) {
      EXPECT_EQ(entry.start, 14 + static_cast<int32_t>(i));
      EXPECT_EQ(entry.count, 1);
      EXPECT_EQ(entry.sample, 1);
      EXPECT_EQ(entry.input_on_device, 1);
      EXPECT_EQ(entry.num_new_blocks, i == 2 ? 1 : 0);
    }
    seen.insert(seen.end(), plan.new_blocks.begin(), plan.new_blocks.end());
  }
  EXPECT_EQ(seen, (std::vector<BlockId>{3, 4}));
}

TEST(StepDriver, StartsOverByReleasingItsSlots) {
  FakeExecutor executor;
  StepDriver driver(executor, {2, 64, 16, 5, 2});
  ASSERT_TRUE(driver.Prefill(Prompts(2, 20)).ok());
  ASSERT_TRUE(driver.Prefill(Prompts(1, 20)).ok());
  EXPECT_EQ(executor.plans[1]->released, (std::vector<SlotId>{0, 1}));
  EXPECT_EQ(executor.plans[1]->new_blocks, (std::vector<BlockId>{1, 2}));
}

TEST(StepDriver, TellsOfTooFewBlocksAndOfBrokenLogits) {
  FakeExecutor executor;
  StepDriver driver(executor, {1, 64, 16, 2, 2});
  EXPECT_EQ(driver.Prefill(Prompts(1, 20)).code(), StatusCode::kResourceExhausted);
  executor.corrupted = true;
  StepDriver other(executor, {1, 64, 16, 5, 2});
  EXPECT_EQ(other.Prefill(Prompts(1, 20)).code(), StatusCode::kInternal);
}

}  // namespace
}  // namespace inferd::bench
