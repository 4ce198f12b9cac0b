// Quantised checkpoints against what transformers computes with the dequantised
// weights in float32 (tests/golden/make_quantised.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "golden_files.h"
#include "inferd/backends/backend.h"
#include "inferd/runtime/rank.h"
#include "plan_driver.h"
#include "tap_ops.h"

namespace inferd {
namespace {

using testing::DrivenPrompt;
using testing::GoldenDir;
using testing::MakeTestBackend;
using testing::PlanDriver;
using testing::TapOps;

namespace fs = std::filesystem;

// Logits have a standard deviation of about 8. Rounding the inputs of the
// quantised layers to 8 bits was seen to move them by up to 0.9: on models this
// small hardly any input is small beside the largest of its row.
constexpr double kFloatTolerance = 1.5;
// E4M3 keeps four bits of an input where 8-bit integers keep up to seven: up to 5.2.
constexpr double kFp8FloatTolerance = 8.0;
// Against a reference that rounds the same inputs no difference of 1e-4 was seen.
// Float32 in another order may round an input to the next step, which moves
// logits by a few hundredths.
constexpr double kRoundedTolerance = 0.1;

class QuantisedGoldenTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
};

TEST_P(QuantisedGoldenTest, LogitsAgree) {
  const auto& [name, backend_name] = GetParam();
  const fs::path dir = GoldenDir("quantised") / name;
  const std::unique_ptr<Backend> backend = MakeTestBackend(backend_name);
  if (backend == nullptr) GTEST_SKIP() << "no backend " << backend_name;
  TapOps tap(backend->ops());
  RankOptions options;
  options.model_dir = dir;
  options.memory.max_running = 2;
  options.memory.max_batched_tokens = 64;
  options.memory.block_size = 16;
  options.memory.kv_dtype = DType::kF32;
  const SystemClock clock;
  auto executor = StartLocalExecutor(options, tap, clock, nullptr);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString();
  PlanDriver driver(**executor, 2, 16, (*executor)->info().memory.num_blocks);

  std::ifstream file(dir / "expected.json");
  const nlohmann::json expected = nlohmann::json::parse(file);
  double from_float = 0;
  double from_rounded = 0;
  for (const auto& prompt : expected["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<TokenId>>();
    for (const auto& e : prompt["logits"]) {
      // The logits after `position` are those the next token is drawn from.
      const auto position = e["position"].get<int64_t>();
      DrivenPrompt driven;
      driven.prompt.assign(ids.begin(), ids.begin() + position + 1);
      driven.sampling.temperature = 0.0F;
      driven.sampling.seed = 7;
      driver.ForgetBlocks();
      driver.Run({driven}, 64, 1);
      const auto it = tap.logits().find({7, static_cast<uint64_t>(position) + 1});
      ASSERT_NE(it, tap.logits().end());
      const auto plain = e["values"].get<std::vector<double>>();
      const auto rounded = e["rounded"].get<std::vector<double>>();
      ASSERT_EQ(it->second.size(), plain.size());
      for (size_t i = 0; i < plain.size(); ++i) {
        const auto logit = static_cast<double>(it->second[i]);
        ASSERT_TRUE(std::isfinite(logit));
        from_float = std::max(from_float, std::fabs(logit - plain[i]));
        from_rounded = std::max(from_rounded, std::fabs(logit - rounded[i]));
      }
    }
  }
  std::printf("    %s on %s: largest difference %.3f, with rounded inputs %.1e\n", name.c_str(),
              backend_name.c_str(), from_float, from_rounded);
  const bool fp8 = name.find("fp8") != std::string::npos;
  EXPECT_LT(from_float, fp8 ? kFp8FloatTolerance : kFloatTolerance);
  EXPECT_LT(from_rounded, kRoundedTolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, QuantisedGoldenTest,
    ::testing::Combine(::testing::Values("qwen2_awq", "llama_gptq", "llama_gptq_v2", "llama_int8",
                                         "qwen2_fp8", "llama_fp8_static", "llama_fp8",
                                         "llama_fp8_weights"),
                       ::testing::Values("ref", "cpu")),
    [](const auto& p) { return std::get<0>(p.param) + "_" + std::get<1>(p.param); });

}  // namespace
}  // namespace inferd
