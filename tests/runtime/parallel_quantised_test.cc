// Quantised checkpoints, split over ranks in threads (see quantised_golden_test.cc for
// what they are compared with). Inputs of a quantised layer are rounded in the pieces
// that the ranks have: where these are not those of one rank, the rounding differs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "golden_files.h"
#include "rank_group.h"

namespace inferd {
namespace {

using testing::DrivenPrompt;
using testing::GoldenDir;
using testing::RankGroup;
using testing::ShapeName;

namespace fs = std::filesystem;

// As of one rank.
constexpr double kFloatTolerance = 1.5;
constexpr double kFp8FloatTolerance = 8.0;
constexpr double kRoundedTolerance = 0.1;

bool IsFp8(const std::string& name) { return name.find("fp8") != std::string::npos; }

// Groups of 32 inputs, and one group of all 64, have no halves of 32 to give to four
// ranks.
bool IsUncuttable(const std::string& name, const ParallelShape& shape) {
  return name != "llama_int8" && !IsFp8(name) && shape.tp_rows == 4;
}

// One that splits no inputs, or only between groups.
bool RoundsLikeOneRank(const std::string& name, const ParallelShape& shape) {
  return shape.tp() == 1 || name == "qwen2_awq" || (name == "qwen2_fp8" && shape.tp_rows != 4);
}

class QuantisedParallelTest
    : public ::testing::TestWithParam<std::tuple<std::string, ParallelShape>> {};

TEST_P(QuantisedParallelTest, LogitsAgree) {
  const auto& [name, shape] = GetParam();
  const fs::path dir = GoldenDir("quantised") / name;
  RankGroup group("cpu", shape);
  const Status started = group.Start(dir);
  if (IsUncuttable(name, shape)) {
    EXPECT_EQ(started.code(), StatusCode::kFailedPrecondition);
    EXPECT_NE(started.message().find("cannot be split over so many ranks"), std::string::npos)
        << started.ToString();
    return;
  }
  ASSERT_TRUE(started.ok()) << started.ToString();
  std::ifstream file(dir / "expected.json");
  const nlohmann::json expected = nlohmann::json::parse(file);
  double from_float = 0;
  double from_rounded = 0;
  for (const auto& prompt : expected["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<TokenId>>();
    for (const auto& e : prompt["logits"]) {
      const auto position = e["position"].get<int64_t>();
      DrivenPrompt driven;
      driven.prompt.assign(ids.begin(), ids.begin() + position + 1);
      driven.sampling.temperature = 0.0F;
      driven.sampling.seed = 7;
      group.driver().ForgetBlocks();
      group.driver().Run({driven}, 64, 1);
      const auto it = group.logits().find({7, static_cast<uint64_t>(position) + 1});
      ASSERT_NE(it, group.logits().end());
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
  std::printf("    %s, %s: largest difference %.3f, with rounded inputs %.1e\n", name.c_str(),
              ShapeName(shape).c_str(), from_float, from_rounded);
  const double tolerance = IsFp8(name) ? kFp8FloatTolerance : kFloatTolerance;
  EXPECT_LT(from_float, tolerance);
  EXPECT_LT(from_rounded, RoundsLikeOneRank(name, shape) ? kRoundedTolerance : tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, QuantisedParallelTest,
    ::testing::Combine(::testing::Values("qwen2_awq", "llama_gptq", "llama_gptq_v2", "llama_int8",
                                         "qwen2_fp8", "llama_fp8"),
                       ::testing::Values(ParallelShape{1, 1, 1}, ParallelShape{2, 1, 1},
                                         ParallelShape{4, 1, 1}, ParallelShape{2, 1, 2},
                                         ParallelShape{2, 2, 1})),
    [](const auto& p) { return std::get<0>(p.param) + "_" + ShapeName(std::get<1>(p.param)); });

}  // namespace
}  // namespace inferd
