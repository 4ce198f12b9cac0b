// Small checkpoints of every family against what transformers computes with
// them in float32 (tests/golden/make_goldens.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden_files.h"
#include "inferd/backends/backend.h"
#include "inferd/runtime/rank.h"
#include "plan_driver.h"
#include "tap_ops.h"

namespace inferd {
namespace {

using testing::DrivenPrompt;
using testing::DrivenResult;
using testing::ExpectedPrompt;
using testing::GoldenDir;
using testing::GoldenFamilies;
using testing::MakeTestBackend;
using testing::PlanDriver;
using testing::ReadExpected;
using testing::RoundsToBF16;
using testing::TapOps;

namespace fs = std::filesystem;

// Logits reach about 40 here; two float32 evaluations in different order were
// seen to differ by up to 5e-5.
constexpr float kLogitTolerance = 5e-4F;
// With activations rounded to 8 bits of precision before every product of bf16
// weights (three of the families have such).
constexpr float kRoundedLogitTolerance = 0.5F;
// Keys and values off by up to 1/254 of the largest of their head: seen to change
// logits by up to 0.5, on every backend by the same to three digits.
constexpr float kInt8LogitTolerance = 1.0F;
constexpr int32_t kSlots = 4;
// The tokens of a step up to which a row's bits depend on nothing else. A GPU's matrix
// library takes steps of more than 64 rows, and adds in another order than our kernels.
int32_t InvariantTokens(const std::string& backend) {
  return backend.starts_with("cuda") ? 64 : 256;
}

// A rank with a tap on its logits.
struct TestRank {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<TapOps> tap;
  std::unique_ptr<LocalExecutor> executor;
  RankOptions options;

  PlanDriver Driver() const {
    return PlanDriver(*executor, kSlots, options.memory.block_size,
                      executor->info().memory.num_blocks);
  }
  using Logits = std::map<TapOps::Key, std::vector<float>>;
};

DrivenPrompt Greedy(uint64_t name, std::vector<TokenId> prompt, int32_t max_new) {
  DrivenPrompt p;
  p.prompt = std::move(prompt);
  p.sampling.temperature = 0.0F;
  p.sampling.seed = name;
  p.max_new = max_new;
  return p;
}

float MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float d = std::fabs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

class GoldenTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    dir_ = GoldenDir(std::get<0>(GetParam()));
    ASSERT_TRUE(fs::exists(dir_ / "expected.json"));
    expected_ = ReadExpected(dir_);
    ASSERT_FALSE(expected_.empty());
  }

  // Logits are near the expected ones, and the same in every schedule.
  void ExpectRoughAgreement(DType cache, float tolerance);

  // Starts a fresh rank. False, and the test is skipped, without the backend.
  bool Start(TestRank* rank, DType kv_dtype = DType::kF32) {
    const std::string name = std::get<1>(GetParam());
    rank->backend = MakeTestBackend(name);
    if (rank->backend == nullptr) return false;
    rank->tap = std::make_unique<TapOps>(rank->backend->ops());
    rank->options.model_dir = dir_;
    rank->options.memory.max_running = kSlots;
    rank->options.memory.max_batched_tokens = 256;
    rank->options.memory.block_size = name == "fussy" ? FussyOps::kBlockSize : 16;
    rank->options.memory.kv_dtype = kv_dtype;
    auto executor = StartLocalExecutor(rank->options, *rank->tap, clock_, nullptr);
    EXPECT_TRUE(executor.ok()) << executor.status().ToString();
    if (!executor.ok()) return false;
    rank->executor = std::move(executor).value();
    return true;
  }

  // From the recorded logits, each prompt prefix run on its own.
  float MaxLogitDifference(const TestRank& rank, PlanDriver& driver) const {
    float worst = 0;
    for (const ExpectedPrompt& e : expected_) {
      for (const auto& [position, values] : e.logits) {
        // The logits after `position` are those the next token is drawn from.
        std::vector<TokenId> prefix(e.ids.begin(), e.ids.begin() + position + 1);
        driver.ForgetBlocks();
        driver.Run({Greedy(77, std::move(prefix), 1)}, 256, 1);
        const auto it = rank.tap->logits().find({77, static_cast<uint64_t>(position) + 1});
        EXPECT_NE(it, rank.tap->logits().end());
        if (it == rank.tap->logits().end()) return INFINITY;
        worst = std::max(worst, MaxDifference(it->second, values));
      }
    }
    return worst;
  }

  std::vector<DrivenPrompt> All(int32_t max_new) const {
    std::vector<DrivenPrompt> prompts;
    for (size_t i = 0; i < expected_.size(); ++i) {
      prompts.push_back(Greedy(i, expected_[i].ids, max_new));
    }
    return prompts;
  }
  int32_t budget() const { return InvariantTokens(std::get<1>(GetParam())); }
  bool rounds() const { return RoundsToBF16(std::get<1>(GetParam())); }
  void ExpectGreedy(const std::vector<DrivenResult>& results, const char* how) const {
    ASSERT_EQ(results.size(), expected_.size());
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].tokens, expected_[i].greedy) << how << ", prompt " << i;
    }
  }

  fs::path dir_;
  std::vector<ExpectedPrompt> expected_;
  SystemClock clock_;
};

TEST_P(GoldenTest, LogitsAgree) {
  TestRank rank;
  if (!Start(&rank)) GTEST_SKIP() << "no backend " << std::get<1>(GetParam());
  PlanDriver driver = rank.Driver();
  const float worst = MaxLogitDifference(rank, driver);
  RecordProperty("max_difference", std::to_string(worst));
  std::printf("    %s on %s: largest difference %.2e\n", std::get<0>(GetParam()).c_str(),
              std::get<1>(GetParam()).c_str(), static_cast<double>(worst));
  EXPECT_LT(worst, rounds() ? kRoundedLogitTolerance : kLogitTolerance);
}

// E4M3 keeps four bits of a number.
constexpr float kFp8LogitTolerance = 6.0F;

// Eight bits move the logits, but by as little in every schedule: each row reads
// what is in the cache, its own key and value included.
TEST_P(GoldenTest, AnInt8CacheAgreesRoughlyAndInEverySchedule) {
  ExpectRoughAgreement(DType::kI8, kInt8LogitTolerance);
}
TEST_P(GoldenTest, AnFp8CacheAgreesRoughlyAndInEverySchedule) {
  ExpectRoughAgreement(DType::kF8E4M3, kFp8LogitTolerance);
}

void GoldenTest::ExpectRoughAgreement(DType cache, float tolerance) {
  TestRank rank;
  if (!Start(&rank, cache)) GTEST_SKIP() << "no backend " << std::get<1>(GetParam());
  PlanDriver driver = rank.Driver();
  const float worst = MaxLogitDifference(rank, driver);
  std::printf("    %s on %s, %s cache: largest difference %.2e\n", std::get<0>(GetParam()).c_str(),
              std::get<1>(GetParam()).c_str(), std::string(DTypeName(cache)).c_str(),
              static_cast<double>(worst));
  EXPECT_LT(worst, tolerance);

  driver.ForgetBlocks();
  for (size_t i = 0; i < expected_.size(); ++i) {
    driver.Run({Greedy(i, expected_[i].ids, 40)}, budget(), 1);
  }
  const TestRank::Logits alone = rank.tap->logits();
  driver.ForgetBlocks();
  driver.first_slot = 1;
  driver.Run(All(40), budget(), 2);
  EXPECT_EQ(rank.tap->logits(), alone) << "batched";
  driver.ForgetBlocks();
  driver.Run(All(40), 7, 2);
  EXPECT_EQ(rank.tap->logits(), alone) << "chunked";
}

TEST_P(GoldenTest, GreedyTextAgreesHoweverItIsScheduled) {
  TestRank rank;
  if (!Start(&rank)) GTEST_SKIP() << "no backend " << std::get<1>(GetParam());
  const auto max_new = static_cast<int32_t>(expected_[0].greedy.size());
  ASSERT_GE(max_new, 256);
  PlanDriver driver = rank.Driver();

  std::vector<DrivenResult> alone;
  for (size_t i = 0; i < expected_.size(); ++i) {
    alone.push_back(driver.Run({Greedy(i, expected_[i].ids, max_new)}, budget(), 1)[0]);
  }
  // Rounding may turn a near tie; however it is scheduled, it turns the same ones.
  for (size_t i = 0; rounds() && i < alone.size(); ++i) expected_[i].greedy = alone[i].tokens;
  ExpectGreedy(alone, "alone");
  const TestRank::Logits logits_alone = rank.tap->logits();

  // Prefix hit: the full blocks the last prompt left behind, but not its last token.
  DrivenPrompt again = Greedy(expected_.size() - 1, expected_.back().ids, max_new);
  const size_t whole =
      (again.prompt.size() - 1) / static_cast<size_t>(rank.options.memory.block_size);
  again.shared_blocks.assign(alone.back().table.begin(),
                             alone.back().table.begin() + static_cast<std::ptrdiff_t>(whole));
  ASSERT_GT(whole, 0U);
  EXPECT_EQ(driver.Run({again}, budget(), 2)[0].tokens, expected_.back().greedy) << "prefix hit";
  EXPECT_EQ(rank.tap->logits(), logits_alone) << "prefix hit";

  // From here on other sequences run on the blocks left behind.
  driver.ForgetBlocks();
  driver.first_slot = 1;
  ExpectGreedy(driver.Run(All(max_new), budget(), 2), "batched");
  EXPECT_EQ(rank.tap->logits(), logits_alone) << "batched";
  driver.ForgetBlocks();
  ExpectGreedy(driver.Run(All(max_new), 7, 2), "chunked");
  EXPECT_EQ(rank.tap->logits(), logits_alone) << "chunked";
}

// P4: the plans of a run, replayed from an empty rank, give the same bits.
TEST_P(GoldenTest, ReplayedPlansGiveTheSameLogits) {
  TestRank first;
  if (!Start(&first)) GTEST_SKIP() << "no backend " << std::get<1>(GetParam());
  PlanDriver driver = first.Driver();
  driver.Run(All(20), 19, 2);
  TestRank second;
  ASSERT_TRUE(Start(&second));
  for (const auto& plan : driver.plans()) {
    second.executor->Submit(plan);
    ASSERT_TRUE(second.executor->Await().error.ok());
  }
  EXPECT_EQ(first.tap->logits(), second.tap->logits());
}

INSTANTIATE_TEST_SUITE_P(
    Families, GoldenTest,
    ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                       ::testing::Values("ref", "cpu", "cpu_bf16", "fussy", "cuda", "cuda_bf16")),
    [](const auto& p) { return std::get<0>(p.param) + "_" + std::get<1>(p.param); });

}  // namespace
}  // namespace inferd
