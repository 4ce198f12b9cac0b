// Groups of ranks when something goes wrong, and when they start again.
#include "rank_group.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tiny_checkpoint.h"

namespace inferd {
namespace {

using testing::DrivenPrompt;
using testing::MakeTiny;
using testing::RankGroup;
using testing::TempDir;
using testing::TinyCheckpoint;

DrivenPrompt Greedy(std::vector<TokenId> prompt, int32_t max_new) {
  DrivenPrompt p;
  p.prompt = std::move(prompt);
  p.sampling.temperature = 0.0F;
  p.max_new = max_new;
  return p;
}

std::shared_ptr<BatchPlan> Prompt(StepId step, SlotId slot, BlockId block) {
  auto plan = std::make_shared<BatchPlan>();
  plan->step = step;
  AdmittedSequence sequence;
  sequence.slot = slot;
  sequence.num_tokens = sequence.num_prompt = 3;
  plan->admitted.push_back(sequence);
  plan->tokens = {5, 6, 7};
  plan->new_blocks = {block};
  StepEntry entry;
  entry.slot = slot;
  entry.count = 3;
  entry.num_new_blocks = 1;
  entry.sample = 1;
  plan->entries.push_back(entry);
  return plan;
}

class RankGroupTest : public ::testing::Test {
 protected:
  RankGroupTest() { MakeTiny("Qwen2ForCausalLM").Write(dir_.path()); }
  TempDir dir_;
};

TEST_F(RankGroupTest, StopsWithWorkInFlight) {
  for (const ParallelShape& shape : {ParallelShape{2, 1, 1}, ParallelShape{2, 1, 2}}) {
    RankGroup group("ref", shape);
    ASSERT_TRUE(group.Start(dir_.path()).ok());
    for (StepId step = 1; step <= 2; ++step) {
      group.executor().Submit(Prompt(step, static_cast<SlotId>(step), static_cast<BlockId>(step)));
    }
  }
}

TEST_F(RankGroupTest, ABrokenPlanIsTheLastOneOfAllRanks) {
  RankGroup group("ref", {2, 1, 2});
  ASSERT_TRUE(group.Start(dir_.path()).ok());
  group.executor().Submit(Prompt(1, 99, 1));  // there is no such slot
  const StepResult result = group.executor().Await();
  EXPECT_EQ(result.error.code(), StatusCode::kInternal);
  EXPECT_NE(result.error.message().find("slot 99"), std::string::npos) << result.error.ToString();
  EXPECT_EQ(group.executor().Await().error.message(), result.error.message());
}

// One bit of a weight that both ranks should have is another on one of them: it shows as
// tokens that differ, sooner or later, and never as an answer.
TEST_F(RankGroupTest, ComparingTokensFindsARankThatComputesSomethingElse) {
  const ParallelShape shape{2, 1, 1};
  const SystemClock clock;
  auto backend0 = testing::MakeTestBackend("ref", 1);
  auto backend1 = testing::MakeTestBackend("ref", 1);

  // A sampler that draws the next token of the vocabulary.
  class OtherSampler final : public RefOps {
   public:
    void Sample(TensorView logits, std::span<const SampleRow> rows,
                std::span<SampleOutput> out) override {
      RefOps::Sample(logits, rows, out);
      if (++calls_ < 3) return;  // the warm-up and the first step agree
      for (SampleOutput& o : out) o.token = (o.token + 1) % static_cast<TokenId>(logits.dim(1));
    }

   private:
    int calls_ = 0;
  } other;
  const std::vector<Ops*> ops = {&backend0->ops(), &other};
  RankOptions options;
  options.model_dir = dir_.path();
  options.memory.max_running = 4;
  options.memory.max_batched_tokens = 32;
  options.memory.block_size = 8;
  options.memory.num_blocks = 8;
  options.memory.kv_dtype = DType::kF32;
  options.compare_tokens = true;
  auto executor = StartThreadExecutor(options, shape, ops, clock, nullptr);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  (*executor)->Submit(Prompt(1, 0, 1));
  EXPECT_TRUE((*executor)->Await().error.ok());
  (*executor)->Submit(Prompt(2, 1, 2));
  const StepResult result = (*executor)->Await();
  EXPECT_EQ(result.error.code(), StatusCode::kInternal);
  EXPECT_NE(result.error.message().find("drew different tokens for slot 1"), std::string::npos)
      << result.error.ToString();
}

// The packed weights of each shard are kept in a file of its own, and taken from there.
TEST_F(RankGroupTest, PackedWeightsAreKeptByShard) {
  TempDir cache;
  const auto files = [&cache] {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cache.path())) {
      count += entry.path().extension() == ".packed" ? 1 : 0;
    }
    return count;
  };
  std::vector<TokenId> first;
  const std::vector<std::pair<ParallelShape, size_t>> starts = {
      {{2, 1, 1}, 2}, {{2, 1, 1}, 2}, {{1, 1, 2}, 4}, {{2, 2, 1}, 8}, {{2, 2, 1}, 8}};
  for (const auto& [shape, wanted] : starts) {
    RankGroup group("cpu", shape);
    group.options.packed_cache.directory = cache.path();
    group.options.packed_cache.max_bytes = int64_t{1} << 30;
    ASSERT_TRUE(group.Start(dir_.path()).ok());
    const std::vector<TokenId> tokens =
        group.driver().Run({Greedy({5, 6, 7, 8}, 24)}, 64, 1)[0].tokens;
    if (first.empty()) first = tokens;
    EXPECT_EQ(tokens, first) << ShapeText(shape);
    // Writing goes on beside the work, and stops with it.
    for (int i = 0; i < 3000 && files() < wanted; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(files(), wanted) << ShapeText(shape);
  }
}

// Layers that stay in their files give the same text; the files are made first, and found
// again.
TEST_F(RankGroupTest, StreamedWeightsGiveTheSameText) {
  TempDir cache;
  TempDir model;
  TinyCheckpoint tiny = testing::ReadCheckpoint(testing::GoldenDir("llama_yarn"));
  tiny.Write(model.path());
  std::vector<TokenId> wanted;
  for (const bool stream : {false, true, true}) {
    for (const ParallelShape& shape : {ParallelShape{1, 1, 1}, ParallelShape{2, 1, 1}}) {
      RankGroup group("cpu", shape);
      if (stream) {
        group.options.packed_cache = {cache.path(), int64_t{1} << 30, nullptr, true};
        group.options.memory.stream_weights = true;
      }
      ASSERT_TRUE(group.Start(model.path()).ok());
      const std::vector<TokenId> tokens =
          group.driver().Run({Greedy({5, 6, 7, 8}, 24)}, 64, 1)[0].tokens;
      if (wanted.empty()) wanted = tokens;
      EXPECT_EQ(tokens, wanted) << stream << ", " << ShapeText(shape);
    }
  }
  RankGroup nowhere("cpu", {1, 1, 1});
  nowhere.options.packed_cache.stream = true;
  EXPECT_EQ(nowhere.Start(model.path()).code(), StatusCode::kFailedPrecondition);
}

TEST_F(RankGroupTest, TheCacheSizeIsThatOfAllRanks) {
  auto backend = testing::MakeTestBackend("ref", 1);
  RankOptions options;
  options.model_dir = dir_.path();
  options.memory.max_running = 4;
  options.memory.max_batched_tokens = 32;
  options.memory.kv_bytes = 1 << 20;
  int64_t alone = 0;
  for (const ParallelShape& shape : {ParallelShape{1, 1, 1}, ParallelShape{2, 1, 1},
                                     ParallelShape{1, 1, 2}, ParallelShape{2, 1, 2}}) {
    const auto ranks = PlanGroup(options, shape, backend->ops(), nullptr);
    ASSERT_TRUE(ranks.ok()) << ranks.status().ToString();
    int64_t kv_bytes = 0;
    int64_t weights = 0;
    for (const RankInfo& rank : *ranks) {
      EXPECT_EQ(rank.memory.num_blocks, ranks->front().memory.num_blocks);
      kv_bytes += rank.memory.kv_bytes;
      weights += rank.memory.weight_bytes;
    }
    EXPECT_LE(kv_bytes, 1 << 20);
    EXPECT_GT(kv_bytes, (1 << 20) - (1 << 17));
    if (alone == 0) alone = weights;
    // Only norms are on several ranks of a stage.
    EXPECT_GE(weights, alone);
    EXPECT_LT(weights, alone + 8 * 32 * 6 * 4);
  }
}

}  // namespace
}  // namespace inferd
