// What a step sends to the device, and what it does not.
#include <gtest/gtest.h>

#include <vector>

#include "backends/cuda/cuda_step_plan.h"
#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/step_graphs.h"
#include "cuda/code.h"

namespace inferd::testing {
namespace {

constexpr int32_t kRows = 8;
constexpr int32_t kBlocks = 300;

// Decodes: one row a sequence, all sampled.
struct Decodes {
  explicit Decodes(int32_t rows)
      : ids(rows, 3), positions(rows, 20), contexts(rows, 21), tables(size_t(rows) * kBlocks, 1) {
    for (int32_t i = 0; i < rows; ++i) samples.push_back(i);
    for (int32_t i = 0; i <= rows; ++i) starts.push_back(i);
  }
  StepInputs Inputs() const {
    const auto rows = static_cast<int32_t>(ids.size());
    return {rows, rows, ids, positions, starts, contexts, tables, kBlocks, samples};
  }
  std::vector<TokenId> ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> starts;
  std::vector<int32_t> contexts;
  std::vector<BlockId> tables;
  std::vector<int32_t> samples;
};

class StepPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    device_ = Device::Open(0).value();
    ASSERT_EQ(cuda::LoadCode(), 0);
    plan_ = std::make_unique<CudaStepPlan>(*device_, kRows, kRows, kBlocks);
    ASSERT_TRUE(device_->ok());
  }
  std::vector<int32_t> Read(const int32_t* from, int32_t count) {
    std::vector<int32_t> words(static_cast<size_t>(count));
    EXPECT_TRUE(device_->CopyOut(words.data(), from, words.size() * sizeof(int32_t)).ok());
    return words;
  }
  std::unique_ptr<Device> device_;
  std::unique_ptr<CudaStepPlan> plan_;
};

TEST_F(StepPlanTest, OnlyChangesAreSent) {
  Decodes step(4);
  plan_->Plan(step.Inputs(), 4);
  EXPECT_EQ(plan_->words().sent_whole(), 1);
  for (int32_t i = 0; i < 20; ++i) {
    for (int32_t r = 0; r < 4; ++r) {
      step.ids[r] = 100 * i + r;
      ++step.positions[r];
      ++step.contexts[r];
    }
    step.tables[2 * kBlocks + 7 + i] = 50 + i;
    plan_->Plan(step.Inputs(), 4);
  }
  EXPECT_EQ(plan_->words().sent_whole(), 1);
  EXPECT_EQ(plan_->words().sent_as_deltas(), 20);
  EXPECT_EQ(Read(plan_->ids(), 4), step.ids);
  EXPECT_EQ(Read(plan_->positions(), 4), step.positions);
  EXPECT_EQ(Read(plan_->contexts(), 4), step.contexts);
  EXPECT_EQ(Read(plan_->tables(), 4 * kBlocks), step.tables);
}

TEST_F(StepPlanTest, ManyChangesAreSentAsTheWhole) {
  Decodes step(8);
  plan_->Plan(step.Inputs(), 8);
  for (BlockId& block : step.tables) ++block;
  plan_->Plan(step.Inputs(), 8);
  EXPECT_EQ(plan_->words().sent_whole(), 2);
  EXPECT_EQ(Read(plan_->tables(), 8 * kBlocks), step.tables);
}

TEST_F(StepPlanTest, PaddingHasNoPositionAndNoContext) {
  const Decodes step(3);
  plan_->Plan(step.Inputs(), 4);
  EXPECT_EQ(plan_->num_tokens(), 4);
  EXPECT_EQ(plan_->num_sample_rows(), 4);
  EXPECT_EQ(Read(plan_->positions(), 4), (std::vector<int32_t>{20, 20, 20, -1}));
  EXPECT_EQ(Read(plan_->contexts(), 4), (std::vector<int32_t>{21, 21, 21, 0}));
  EXPECT_EQ(Read(plan_->starts(), 5), (std::vector<int32_t>{0, 1, 2, 3, 4}));
}

// Whatever a step may need is planned before there is one.
TEST_F(StepPlanTest, TakesNoMoreMemoryThanItIsCountedFor) {
  plan_.reset();
  constexpr int32_t kBlockSize = 16;
  for (const int32_t tokens : {1, 512, 2048}) {
    for (const int32_t sequences : {1, 64, 512}) {
      for (const int32_t blocks : {1, 512, 8192}) {
        for (const auto& [group, heads] : {std::pair(1, 8), std::pair(4, 2), std::pair(64, 1)}) {
          ASSERT_EQ(device_->allocated_bytes(), 0U);
          const CudaStepPlan plan(*device_, tokens, sequences, blocks);
          const size_t words = device_->allocated_bytes();
          EXPECT_LE(static_cast<int64_t>(words),
                    CudaStepPlan::DeviceBytes(tokens, sequences, blocks));
          ASSERT_NE(plan.WorkFor(kBlockSize, group, heads), nullptr);
          EXPECT_LE(static_cast<int64_t>(device_->allocated_bytes() - words),
                    CudaStepPlan::WorkBytes(tokens, sequences, int64_t{blocks} * kBlockSize, group,
                                            heads))
              << group << " query heads a head of keys";
        }
        ASSERT_TRUE(device_->ok());
      }
    }
  }
}

// Layers may differ in their heads: the list of one is not that of another, and has room for it.
TEST_F(StepPlanTest, WorkIsMadeAnewForOtherHeads) {
  const Decodes step(4);
  plan_->Plan(step.Inputs(), 4);
  constexpr int32_t kBlockSize = 16;
  CudaStepPlan::AttentionWork* work = plan_->WorkFor(kBlockSize, 8, 1);
  ASSERT_NE(work, nullptr);
  EXPECT_FALSE(work->ready);
  work->ready = true;
  EXPECT_TRUE(plan_->WorkFor(kBlockSize, 8, 1)->ready);
  EXPECT_FALSE(plan_->WorkFor(kBlockSize, 2, 4)->ready);
  EXPECT_GE(work->num_arrivals, int64_t{4} * work->max_decode);
  EXPECT_EQ(Read(work->arrivals, 4 * work->max_decode),
            std::vector<int32_t>(size_t{4} * static_cast<size_t>(work->max_decode), 0));
  // Neither takes memory again.
  const size_t bytes = device_->allocated_bytes();
  const int32_t* const arrivals = work->arrivals;
  EXPECT_FALSE(plan_->WorkFor(kBlockSize, 8, 1)->ready);
  EXPECT_FALSE(plan_->WorkFor(kBlockSize, 2, 4)->ready);
  EXPECT_EQ(work->arrivals, arrivals);
  EXPECT_EQ(device_->allocated_bytes(), bytes);
}

TEST(DecodeBucketTest, CoversEveryNumberWithLittleWaste) {
  int32_t last = 0;
  for (int32_t rows = 1; rows <= 1024; ++rows) {
    const int32_t bucket = DecodeBucket(rows, 1024);
    EXPECT_GE(bucket, rows);
    EXPECT_GE(bucket, last);
    EXPECT_EQ(DecodeBucket(bucket, 1024), bucket);
    EXPECT_LE(bucket, std::max(2 * rows, rows + 1));
    last = bucket;
  }
  EXPECT_EQ(DecodeBucket(57, 60), 60);
}

}  // namespace
}  // namespace inferd::testing
