// Whole models whose linear layers run on trapped tiles, beside the same without AMX.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden_files.h"
#include "inferd/base/clock.h"
#include "inferd/runtime/rank.h"
#include "kernels/cpu/tile_trap.h"
#include "plan_driver.h"
#include "tap_ops.h"

namespace inferd {
namespace {

using testing::DrivenPrompt;
using testing::GoldenDir;
using testing::PlanDriver;
using testing::TapOps;
using testing::TileOpcode;

constexpr int32_t kNewTokens = 24;
// As golden_test has it for activations rounded to bf16.
constexpr float kRoundedLogitTolerance = 0.5F;

struct Answers {
  std::vector<std::vector<TokenId>> tokens;
  std::map<TapOps::Key, std::vector<float>> logits;
};

// Three prompts, of 100 tokens, of 23 and of 5, `budget` tokens a step, answered greedily.
void Answer(const std::filesystem::path& model, Activations activations, bool amx, int32_t budget,
            Answers* answers) {
  BackendOptions backend_options;
  backend_options.threads = 2;
  backend_options.activations = activations;
  backend_options.amx = amx;
  const auto backend = CreateBackend("cpu", backend_options);
  ASSERT_TRUE(backend.ok()) << backend.status().ToString();
  ASSERT_EQ((*backend)->Description().find("AMX") != std::string::npos, amx);
  TapOps tap((*backend)->ops());
  RankOptions options;
  options.model_dir = model;
  options.memory.max_running = 3;
  options.memory.max_batched_tokens = 256;
  options.memory.block_size = 16;
  const SystemClock clock;
  const auto executor = StartLocalExecutor(options, tap, clock, nullptr);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  const RankInfo info = (*executor)->info();
  PlanDriver driver(**executor, 3, 16, info.memory.num_blocks);
  std::vector<DrivenPrompt> prompts;
  for (const int32_t length : {100, 23, 5}) {
    DrivenPrompt& p = prompts.emplace_back();
    for (int32_t i = 0; i < length; ++i) {
      p.prompt.push_back((length * 31 + i * i * 7 + i) % info.config.vocab_size);
    }
    p.sampling.temperature = 0.0F;
    p.sampling.seed = prompts.size();
    p.max_new = kNewTokens;
  }
  for (const auto& result : driver.Run(prompts, budget, 2))
    answers->tokens.push_back(result.tokens);
  answers->logits = tap.logits();
}

// Instructions of this kind since the last call.
class Counter {
 public:
  explicit Counter(TileOpcode opcode) : opcode_(opcode), before_(Count()) {}
  bool HasRun() const { return !testing::TilesAreTrapped() || Count() > before_; }

 private:
  uint64_t Count() const { return testing::TrappedInstructions(opcode_); }
  const TileOpcode opcode_;
  const uint64_t before_;
};

// Integer sums are exact: the same bits as by dot products. What is not quantised is multiplied
// in f32.
void ExpectSameBits(const std::string& name, TileOpcode opcode) {
  SCOPED_TRACE(name);
  const auto model = GoldenDir("quantised") / name;
  Answers plain;
  Answer(model, Activations::kF32, /*amx=*/false, 256, &plain);
  const Counter counter(opcode);
  for (const int32_t budget : {256, 33}) {
    Answers tiles;
    Answer(model, Activations::kF32, /*amx=*/true, budget, &tiles);
    EXPECT_EQ(tiles.tokens, plain.tokens);
    EXPECT_TRUE(tiles.logits == plain.logits) << "logits, " << budget << " tokens a step";
  }
  ASSERT_EQ(plain.tokens.size(), 3U);
  EXPECT_EQ(plain.tokens[0].size(), static_cast<size_t>(kNewTokens));
  EXPECT_TRUE(counter.HasRun()) << testing::TileOpcodeName(opcode);
}

TEST(TrappedModelTest, EightBitsGiveTheSameBits) {
  ExpectSameBits("llama_int8", TileOpcode::kTdpBSUD);
}

TEST(TrappedModelTest, FourBitsGiveTheSameBits) {
  ExpectSameBits("qwen2_awq", TileOpcode::kTdpBSSD);
  ExpectSameBits("llama_gptq", TileOpcode::kTdpBSSD);
}

// Another order of sums than without AMX, and one order for all schedules.
TEST(TrappedModelTest, BF16GivesTheSameInEverySchedule) {
  const Counter counter(TileOpcode::kTdpBF16PS);
  for (const char* name : {"llama3", "qwen3"}) {
    SCOPED_TRACE(name);
    Answers plain;
    Answer(GoldenDir(name), Activations::kBF16, /*amx=*/false, 256, &plain);
    Answers tiles;
    Answer(GoldenDir(name), Activations::kBF16, /*amx=*/true, 256, &tiles);
    Answers chunked;
    Answer(GoldenDir(name), Activations::kBF16, /*amx=*/true, 19, &chunked);
    EXPECT_EQ(tiles.tokens, chunked.tokens);
    EXPECT_TRUE(tiles.logits == chunked.logits) << "logits";
    float worst = 0;
    for (uint64_t prompt = 1; prompt <= 3; ++prompt) {
      // Up to the first token that another rounding turned.
      const auto& with = tiles.tokens[prompt - 1];
      const auto& without = plain.tokens[prompt - 1];
      const auto same = std::mismatch(with.begin(), with.end(), without.begin()).first;
      for (const auto& [key, logits] : tiles.logits) {
        if (key.first != prompt) continue;
        const uint64_t drawn = key.second - tiles.logits.lower_bound({prompt, 0})->first.second;
        if (drawn > static_cast<uint64_t>(same - with.begin())) continue;
        const auto& other = plain.logits.at(key);
        for (size_t i = 0; i < logits.size(); ++i) {
          ASSERT_TRUE(std::isfinite(logits[i]));
          worst = std::max(worst, std::fabs(logits[i] - other[i]));
        }
      }
      EXPECT_GT(same - with.begin(), 0) << "prompt " << prompt;
    }
    std::printf("    %s: largest difference from no AMX %.2e\n", name, static_cast<double>(worst));
    EXPECT_LT(worst, kRoundedLogitTolerance);
  }
  EXPECT_TRUE(counter.HasRun());
}

}  // namespace
}  // namespace inferd
