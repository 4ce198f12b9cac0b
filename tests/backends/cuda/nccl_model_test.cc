// Whole models split over emulated devices that exchange over the NCCL of the tests' own.
#include <gtest/gtest.h>

#include "backends/cuda/emulated_group.h"
#include "backends/cuda/shim_control.h"

namespace inferd::testing {
namespace {

void ExpectGoldenTokens(const std::string& family, const std::vector<DrivenResult>& results) {
  const auto expected = ReadExpected(GoldenDir(family));
  ASSERT_EQ(results.size(), expected.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const auto count = static_cast<int64_t>(results[i].tokens.size());
    ASSERT_GT(count, 0);
    const std::vector<TokenId> greedy(expected[i].greedy.begin(),
                                      expected[i].greedy.begin() + count);
    EXPECT_EQ(results[i].tokens, greedy) << "prompt " << i;
  }
}

struct Case {
  std::string name;
  std::string family;
  ParallelShape shape;
  int32_t max_new;
  bool graphs;  // so many steps of one size that it is recorded
};

class NcclModelTest : public ::testing::TestWithParam<Case> {};

TEST_P(NcclModelTest, TheTokensOfTransformers) {
  const Case& c = GetParam();
  const NcclShimCounts before = ShimCounts();
  {
    EmulatedGroup group(c.family, c.shape);
    const Status started = group.Start();
    ASSERT_TRUE(started.ok()) << started.ToString();
    const auto prompts = GoldenPrompts(ReadExpected(GoldenDir(c.family)), c.max_new);
    const auto results = group.driver().Run(prompts, 96, c.shape.pp + 1);
    ExpectGoldenTokens(c.family, results);
    // Every rank of the last stage has the same bits.
    for (int r = 1; r < c.shape.tp(); ++r) EXPECT_EQ(group.logits(r), group.logits(0)) << r;
    const NcclShimCounts now = ShimCounts();
    if (c.graphs) {
      EXPECT_GT(FakeCuda().graph_launches, 0);
      // Once recorded, a step's collectives run without a call of the host.
      EXPECT_GT(now.collectives - before.collectives, now.calls - before.calls);
    }
    EXPECT_EQ(now.windows, c.shape.tp() > 1 ? c.shape.ranks() : 0);
  }
  const NcclShimCounts after = ShimCounts();
  EXPECT_EQ(after.comms, 0);
  EXPECT_EQ(after.memory, 0);
}

INSTANTIATE_TEST_SUITE_P(Shapes, NcclModelTest,
                         ::testing::Values(Case{"Tp2", "llama3", {2, 1, 1}, 26, true},
                                           Case{"Pp2", "qwen2", {1, 1, 2}, 4, false},
                                           Case{"Tp2Pp2", "qwen2", {2, 1, 2}, 4, false},
                                           Case{"Tp2x2", "qwen3", {2, 2, 1}, 4, false}),
                         [](const ::testing::TestParamInfo<Case>& p) { return p.param.name; });

// A rank whose graph is refused goes op by op alone, and the others' graphs meet its collectives.
TEST(NcclGraphTest, ARankWithoutItsGraphGoesOnWithTheOthers) {
  for (const FakeGraphCall call : {FakeGraphCall::kBeginCapture, FakeGraphCall::kEndCapture,
                                   FakeGraphCall::kInstantiate, FakeGraphCall::kUpload}) {
    EmulatedGroup group("llama3", {2, 1, 1});
    const Status started = group.Start();
    ASSERT_TRUE(started.ok()) << started.ToString();
    RefuseFakeGraphCall(call, 1);
    const auto prompts = GoldenPrompts(ReadExpected(GoldenDir("llama3")), 26);
    const auto results = group.driver().Run(prompts, 96, 2);
    ExpectGoldenTokens("llama3", results);
    EXPECT_EQ(group.logits(1), group.logits(0));
    EXPECT_EQ(FakeCuda().graphs_refused, 1);
    EXPECT_GT(FakeCuda().graph_launches, 0);  // of the other one
  }
}

// Of the table a rank has its rows of the vocabulary, and no memory is kept for the others: none
// at all where they are those of its head.
TEST(NcclPlanTest, ARankIsPlannedForItsRowsOfTheTable) {
  for (const bool tied : {false, true}) {
    EmulatedGroup group(tied ? "llama3" : "qwen3", {2, 1, 1});
    const Status started = group.Start();
    ASSERT_TRUE(started.ok()) << started.ToString();
    const MemoryPlan& plan = group.executor().info().memory;
    EXPECT_EQ(plan.mapped_bytes == 0, tied);
    EXPECT_EQ(plan.copied_bytes, plan.mapped_bytes / 2);
  }
}

TEST(NcclModelFailureTest, AHangInServiceEndsTheGroup) {
  const ShimPlan plan("rank=1,hang=30");
  EmulatedGroup group("llama3", {2, 1, 1});
  group.options.devices.step_timeout_us = 5'000'000;
  const Status started = group.Start(/*tap=*/false);
  ASSERT_TRUE(started.ok()) << started.ToString();
  Executor& executor = group.executor();
  Status error;
  for (int step = 0; step < 40 && error.ok(); ++step) {
    auto next = std::make_shared<BatchPlan>();
    next->step = step;
    StepEntry entry;
    entry.slot = 0;
    entry.start = step;
    entry.count = 1;
    entry.sample = 1;
    if (step == 0) {
      AdmittedSequence sequence;
      sequence.slot = 0;
      sequence.num_tokens = 1;
      sequence.num_prompt = 1;
      next->admitted.push_back(sequence);
      next->tokens.push_back(1);
    }
    if (step % 16 == 0) {
      entry.num_new_blocks = 1;
      next->new_blocks.push_back(1 + step / 16);
    }
    next->entries.push_back(entry);
    executor.Submit(next);
    error = executor.Await().error;
  }
  EXPECT_EQ(error.code(), StatusCode::kDeadlineExceeded) << error.ToString();
  EXPECT_NE(error.message().find("NCCL"), std::string::npos) << error.ToString();
}

TEST(NcclModelFailureTest, RanksThatCannotConnectDoNotStart) {
  const ShimPlan plan("rank=1,init=hangs");
  EmulatedGroup group("llama3", {2, 1, 1});
  group.options.devices.connect_timeout_us = 500'000;
  const Status started = group.Start();
  EXPECT_EQ(started.code(), StatusCode::kDeadlineExceeded) << started.ToString();
  EXPECT_NE(started.message().find("connecting the GPUs"), std::string::npos);
}

TEST(NcclModelFailureTest, SumsOfFewerBitsAreForProcessors) {
  EmulatedGroup group("llama3", {2, 1, 1});
  group.options.all_reduce = AllReduceMode::kInt8;
  const Status started = group.Start();
  EXPECT_EQ(started.code(), StatusCode::kFailedPrecondition) << started.ToString();
}

}  // namespace
}  // namespace inferd::testing
