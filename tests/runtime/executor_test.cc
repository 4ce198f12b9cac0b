#include "inferd/runtime/rank.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <deque>
#include <limits>
#include <thread>

#include "inferd/backends/backend.h"
#include "runtime/thread_executor.h"
#include "tiny_checkpoint.h"

namespace inferd {
namespace {

using testing::MakeTiny;
using testing::SetF32;
using testing::TempDir;
using testing::TinyCheckpoint;

RankOptions SmallOptions(const std::filesystem::path& dir) {
  RankOptions options;
  options.model_dir = dir;
  options.memory.max_running = 4;
  options.memory.max_batched_tokens = 32;
  options.memory.block_size = 8;
  options.memory.num_blocks = 40;
  options.memory.kv_dtype = DType::kF32;
  return options;
}

std::unique_ptr<Backend> RefBackend() {
  BackendOptions options;
  options.threads = 1;
  StatusOr<std::unique_ptr<Backend>> backend = CreateBackend("ref", options);
  EXPECT_TRUE(backend.ok());
  return std::move(backend).value();
}

// A prompt admitted on `slot`, computed at once, sampling.
std::shared_ptr<BatchPlan> PromptPlan(StepId step, SlotId slot, std::vector<TokenId> prompt,
                                      std::vector<BlockId> blocks) {
  auto plan = std::make_shared<BatchPlan>();
  plan->step = step;
  AdmittedSequence sequence;
  sequence.slot = slot;
  sequence.num_tokens = static_cast<int32_t>(prompt.size());
  sequence.num_prompt = sequence.num_tokens;
  sequence.sampling.temperature = 0.0F;
  plan->admitted.push_back(sequence);
  plan->tokens = std::move(prompt);
  StepEntry entry;
  entry.slot = slot;
  entry.count = sequence.num_tokens;
  entry.num_new_blocks = static_cast<uint16_t>(blocks.size());
  entry.sample = 1;
  plan->entries.push_back(entry);
  plan->new_blocks = std::move(blocks);
  return plan;
}

std::shared_ptr<BatchPlan> DecodePlan(StepId step, SlotId slot, int32_t position) {
  auto plan = std::make_shared<BatchPlan>();
  plan->step = step;
  StepEntry entry;
  entry.slot = slot;
  entry.start = position;
  entry.count = 1;
  entry.sample = 1;
  entry.input_on_device = 1;
  plan->entries.push_back(entry);
  return plan;
}

class ExecutorTest : public ::testing::Test {
 protected:
  StatusOr<std::unique_ptr<LocalExecutor>> Start(const TinyCheckpoint& tiny, bool warm_up = true) {
    tiny.Write(dir_.path());
    RankOptions options = SmallOptions(dir_.path());
    options.warm_up = warm_up;
    return StartLocalExecutor(options, backend_->ops(), clock_, nullptr);
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_ = RefBackend();
  SystemClock clock_;
};

TEST_F(ExecutorTest, RunsPlansAheadOfTheirResults) {
  auto executor = Start(MakeTiny("LlamaForCausalLM"));
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  EXPECT_EQ((*executor)->info().memory.num_blocks, 40);
  EXPECT_EQ((*executor)->info().end_tokens, std::vector<TokenId>{2});

  (*executor)->Submit(PromptPlan(1, 0, {5, 6, 7}, {1, 2}));
  std::vector<TokenId> tokens;
  for (StepId step = 2; step < 10; ++step) {
    (*executor)->Submit(DecodePlan(step, 0, static_cast<int32_t>(step) + 1));
    const StepResult result = (*executor)->Await();
    ASSERT_TRUE(result.error.ok()) << result.error.ToString();
    EXPECT_EQ(result.step, step - 1);
    ASSERT_EQ(result.outputs.size(), 1U);
    tokens.push_back(result.outputs[0].token);
  }
  tokens.push_back((*executor)->Await().outputs.at(0).token);

  // One at a time gives the same text, on another slot and other blocks.
  std::vector<TokenId> again;
  auto prompt = PromptPlan(11, 3, {5, 6, 7}, {9, 4});
  prompt->released = {0};
  (*executor)->Submit(prompt);
  again.push_back((*executor)->Await().outputs.at(0).token);
  for (StepId step = 12; step < 20; ++step) {
    (*executor)->Submit(DecodePlan(step, 3, static_cast<int32_t>(step) - 9));
    again.push_back((*executor)->Await().outputs.at(0).token);
  }
  EXPECT_EQ(tokens, again);
}

TEST_F(ExecutorTest, ABrokenPlanIsTheLastOne) {
  auto executor = Start(MakeTiny("LlamaForCausalLM"));
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  (*executor)->Submit(DecodePlan(1, 2, 0));
  (*executor)->Submit(PromptPlan(2, 0, {1}, {1}));
  const StepResult first = (*executor)->Await();
  EXPECT_EQ(first.error.code(), StatusCode::kInternal);
  EXPECT_EQ((*executor)->Await().error.message(), first.error.message());
  (*executor)->Submit(PromptPlan(3, 0, {1}, {1}));  // ignored
  EXPECT_EQ((*executor)->Await().error.message(), first.error.message());
}

TEST_F(ExecutorTest, StopsWithWorkInFlight) {
  auto executor = Start(MakeTiny("LlamaForCausalLM"));
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  (*executor)->Submit(PromptPlan(1, 0, {5, 6, 7}, {1, 2}));
  (*executor)->Submit(DecodePlan(2, 0, 3));
  executor->reset();
}

TEST_F(ExecutorTest, WarmUpRefusesDamagedWeights) {
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  SetF32(tiny.tensor("model.norm.weight"), 3, std::numeric_limits<float>::quiet_NaN());
  auto executor = Start(tiny);
  ASSERT_FALSE(executor.ok());
  EXPECT_EQ(executor.status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(ExecutorTest, NaNWeightsCorruptEverySequence) {
  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  SetF32(tiny.tensor("model.norm.weight"), 3, std::numeric_limits<float>::quiet_NaN());
  auto executor = Start(tiny, /*warm_up=*/false);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  (*executor)->Submit(PromptPlan(1, 0, {5, 6, 7}, {1}));
  (*executor)->Submit(DecodePlan(2, 0, 3));
  for (int i = 0; i < 2; ++i) {
    const StepResult result = (*executor)->Await();
    ASSERT_TRUE(result.error.ok()) << result.error.ToString();
    EXPECT_TRUE(result.outputs.at(0).corrupted);
  }
}

// Token 13's embedding is NaN: who reads it is corrupted, the neighbours are not,
// and blocks it leaves behind harm nobody.
TEST_F(ExecutorTest, OneNaNEmbeddingCorruptsItsReaderOnly) {
  auto healthy = Start(MakeTiny("LlamaForCausalLM"));
  ASSERT_TRUE(healthy.ok());
  (*healthy)->Submit(PromptPlan(1, 1, {5, 6, 7}, {2}));
  const TokenId expected = (*healthy)->Await().outputs.at(0).token;
  healthy->reset();

  TinyCheckpoint tiny = MakeTiny("LlamaForCausalLM");
  for (size_t i = 0; i < 32; ++i) {
    SetF32(tiny.tensor("model.embed_tokens.weight"), 13 * 32 + i,
           std::numeric_limits<float>::quiet_NaN());
  }
  auto executor = Start(tiny);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  auto plan = PromptPlan(1, 0, {5, 13, 7}, {1});
  const auto other = PromptPlan(1, 1, {5, 6, 7}, {2});
  plan->admitted.push_back(other->admitted[0]);
  plan->admitted[1].first_token = 3;
  plan->tokens.insert(plan->tokens.end(), other->tokens.begin(), other->tokens.end());
  plan->entries.push_back(other->entries[0]);
  plan->entries[1].first_new_block = 1;
  plan->new_blocks.push_back(2);
  (*executor)->Submit(plan);
  const StepResult result = (*executor)->Await();
  ASSERT_EQ(result.outputs.size(), 2U);
  EXPECT_TRUE(result.outputs[0].corrupted);
  EXPECT_FALSE(result.outputs[1].corrupted);
  EXPECT_EQ(result.outputs[1].token, expected);

  auto reuse = PromptPlan(2, 0, {5, 6, 7}, {1});
  reuse->released = {0};
  (*executor)->Submit(reuse);
  EXPECT_EQ((*executor)->Await().outputs.at(0).token, expected);
}

TEST_F(ExecutorTest, InspectionTakesNoWeights) {
  MakeTiny("Qwen3ForCausalLM").Write(dir_.path());
  const auto info = InspectModel(SmallOptions(dir_.path()), backend_->ops(), nullptr);
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->memory.max_model_len, 256);
  // embedding mapped; matrices and vectors as f32.
  EXPECT_EQ(info->memory.mapped_bytes, 64 * 32 * 4);
  EXPECT_GT(info->memory.weight_bytes, 2 * (64 * 32 + 32 * 32 + 3 * 32 * 48) * 4);
  EXPECT_EQ(info->memory.kv_bytes, info->memory.kv_bytes_per_block * 40);
  EXPECT_EQ(info->load_us, 0);
}

// A rank that has always something to prepare, and notes when it is asked to.
class TendedRank final : public Rank {
 public:
  void Begin(const BatchPlan& plan) override { steps_.push_back(plan.step); }
  StepResult End() override {
    StepResult result;
    result.step = steps_.front();
    steps_.pop_front();
    asked_ = 0;
    return result;
  }
  // After a few questions, as a device.
  bool IsDone() override { return ++asked_ > 3; }
  int MaxSteps() const override { return 2; }
  bool Tend() override {
    // Nobody waits: it is idle, or has as much to do as it can have.
    if (steps_.size() == 1) ++tended_while_waited_for;
    ++tended;
    return true;
  }
  Status WarmUp() override { return OkStatus(); }
  const RankInfo& info() const override { return info_; }

  std::atomic<int> tended{0};
  std::atomic<int> tended_while_waited_for{0};

 private:
  const RankInfo info_{};
  std::deque<StepId> steps_;
  int asked_ = 0;
};

TEST(TendedRankTest, IsTendedWhileNoPlanWaits) {
  auto owned = std::make_unique<TendedRank>();
  TendedRank& rank = *owned;
  std::vector<std::unique_ptr<Rank>> ranks;
  ranks.push_back(std::move(owned));
  runtime::ThreadExecutor executor({}, std::move(ranks), 2, nullptr);
  const auto submit = [&](StepId step) {
    auto plan = std::make_shared<BatchPlan>();
    plan->step = step;
    executor.Submit(std::move(plan));
  };
  while (rank.tended == 0) std::this_thread::yield();
  submit(1);  // taken although there is more to prepare
  submit(2);
  for (StepId step = 3; step < 300; ++step) {
    EXPECT_EQ(executor.Await().step, step - 2);
    submit(step);
  }
  EXPECT_EQ(executor.Await().step, StepId{298});
  EXPECT_EQ(executor.Await().step, StepId{299});
  EXPECT_EQ(rank.tended_while_waited_for, 0);
}

}  // namespace
}  // namespace inferd
