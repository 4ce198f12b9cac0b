// Checkpoints of every family, split over ranks in threads: texts and logits are those of one rank,
// and of transformers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden_files.h"
#include "rank_group.h"
#include "split_golden.h"

namespace inferd {
namespace {

using testing::AnswerInThreads;
using testing::DrivenPrompt;
using testing::DrivenResult;
using testing::ExpectedPrompt;
using testing::GoldenDir;
using testing::GoldenFamilies;
using testing::GoldenPrompts;
using testing::GoldenShapes;
using testing::IsRefused;
using testing::kAnswerTokens;
using testing::kSplitTolerance;
using testing::LargestDifference;
using testing::RankGroup;
using testing::ShapeName;
using testing::SplittableDir;
using testing::SplittableExpected;

namespace fs = std::filesystem;

// From transformers, as of a rank that is alone (golden_test.cc).
constexpr float kLogitTolerance = 5e-4F;

DrivenPrompt Greedy(uint64_t name, std::vector<TokenId> prompt, int32_t max_new) {
  DrivenPrompt p;
  p.prompt = std::move(prompt);
  p.sampling.temperature = 0.0F;
  p.sampling.seed = name;
  p.max_new = max_new;
  return p;
}

using Param = std::tuple<std::string, ParallelShape, std::string>;

class ParallelGoldenTest : public ::testing::TestWithParam<Param> {};

TEST_P(ParallelGoldenTest, TextAndLogitsAreThoseOfOneRank) {
  const auto& [family, shape, backend] = GetParam();
  if (IsRefused(family, shape)) {
    EXPECT_EQ(RankGroup(backend, shape).Start(GoldenDir(family)).code(),
              StatusCode::kFailedPrecondition);
  }
  const fs::path dir = SplittableDir(family, shape);
  const std::vector<ExpectedPrompt>& expected = SplittableExpected(family, shape);
  RankGroup group(backend, shape);
  const Status started = group.Start(dir);
  ASSERT_TRUE(started.ok()) << started.ToString();

  float worst = 0;
  for (const ExpectedPrompt& e : expected) {
    for (const auto& [position, values] : e.logits) {
      std::vector<TokenId> prefix(e.ids.begin(), e.ids.begin() + position + 1);
      group.driver().ForgetBlocks();
      group.driver().Run({Greedy(77, std::move(prefix), 1)}, 256, 1);
      const auto it = group.logits().find({77, static_cast<uint64_t>(position) + 1});
      ASSERT_NE(it, group.logits().end());
      ASSERT_EQ(it->second.size(), values.size());
      for (size_t i = 0; i < values.size(); ++i) {
        const float difference = std::fabs(it->second[i] - values[i]);
        if (!(difference <= worst)) worst = difference;
      }
    }
  }
  EXPECT_LT(worst, kLogitTolerance);

  // All prompts together, their chunks and tokens in several plans at a time.
  const auto max_new = static_cast<int32_t>(expected[0].greedy.size());
  std::vector<DrivenPrompt> prompts = GoldenPrompts(expected, max_new);
  group.driver().ForgetBlocks();
  const std::vector<DrivenResult> results =
      group.driver().Run(prompts, 19, group.options.max_in_flight);
  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<TokenId> greedy(expected[i].greedy.begin(),
                                      expected[i].greedy.begin() + max_new);
    EXPECT_EQ(results[i].tokens, greedy) << "prompt " << i;
  }
  const testing::Answer& one = AnswerInThreads(family, dir, backend, {1, 1, 1});
  for (size_t i = 0; i < results.size(); ++i) {
    const auto begin = results[i].tokens.begin();
    EXPECT_EQ(std::vector<TokenId>(begin, begin + kAnswerTokens), one.texts[i]) << "prompt " << i;
  }
  const float from_one = LargestDifference(one.logits, group.logits());
  std::printf("    %s, %s on %s: largest difference from transformers %.2e, from one rank %.2e\n",
              family.c_str(), ShapeName(shape).c_str(), backend.c_str(), static_cast<double>(worst),
              static_cast<double>(from_one));
  EXPECT_LE(from_one, kSplitTolerance);
  // Again, in other chunks and one plan at a time: the same bits.
  const std::map<testing::TapOps::Key, std::vector<float>> first = group.logits();
  for (DrivenPrompt& prompt : prompts) prompt.max_new = kAnswerTokens;
  group.driver().ForgetBlocks();
  group.driver().Run(prompts, 7, 1);
  EXPECT_EQ(group.logits(), first);
  // Every rank of the last stage saw the same bits.
  for (int r = 1; r < shape.tp(); ++r) EXPECT_EQ(group.logits(r), group.logits()) << r;
}

// Whose layers are whole where they are used: the same bits as of one rank, with integer
// weights as well, however few rows there are to share.
class ShardedWeightsTest : public ::testing::TestWithParam<Param> {};

TEST_P(ShardedWeightsTest, GiveTheBitsOfOneRank) {
  const auto& [family, shape, backend] = GetParam();
  const fs::path dir = GoldenDir(family);
  std::vector<DrivenPrompt> prompts;
  for (size_t i = 0; i < 3; ++i) {
    std::vector<TokenId> ids;  // 4, 22 and 58 tokens
    for (size_t t = 0; t < 4 + 9 * i + 9 * i * i; ++t) {
      ids.push_back(static_cast<TokenId>(3 + (i + 7 * t) % 90));
    }
    prompts.push_back(Greedy(i, std::move(ids), 12));
  }
  std::map<testing::TapOps::Key, std::vector<float>> wanted;
  for (const bool sharded : {false, true}) {
    RankGroup group(backend, sharded ? shape : ParallelShape{1, 1, shape.pp});
    const Status started = group.Start(dir);
    ASSERT_TRUE(started.ok()) << started.ToString();
    group.driver().max_entries = 2;
    group.driver().Run({prompts[0]}, 256, 1);  // a row at a time
    group.driver().ForgetBlocks();
    group.driver().Run(prompts, 19, group.options.max_in_flight);
    if (!sharded) wanted = group.logits();
    // Not EXPECT_EQ, which would print them all.
    for (int r = 0; sharded && r < shape.tp(); ++r) EXPECT_TRUE(group.logits(r) == wanted) << r;
  }
  EXPECT_GE(wanted.size(), 12U);
}

std::string NameOf(const ::testing::TestParamInfo<Param>& p) {
  const std::string family = fs::path(std::get<0>(p.param)).filename();
  return family + "_" + ShapeName(std::get<1>(p.param)) + "_" + std::get<2>(p.param);
}

INSTANTIATE_TEST_SUITE_P(Families, ParallelGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::ValuesIn(GoldenShapes()),
                                            ::testing::Values("cpu")),
                         NameOf);
// Whose tables are split, and which has no fused op.
INSTANTIATE_TEST_SUITE_P(Boundary, ParallelGoldenTest,
                         ::testing::Combine(::testing::Values("llama3", "qwen2", "qwen3"),
                                            ::testing::Values(ParallelShape{2, 1, 1},
                                                              ParallelShape{2, 1, 2},
                                                              ParallelShape{2, 2, 1}),
                                            ::testing::Values("fussy")),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(Families, ShardedWeightsTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::Values(ParallelShape{2, 1, 1, true}),
                                            ::testing::Values("cpu")),
                         NameOf);
// KV heads that several ranks hold, integer weights, and an odd
// number of layers and of rows.
INSTANTIATE_TEST_SUITE_P(
    Edges, ShardedWeightsTest,
    ::testing::Values(Param{"qwen2", ParallelShape{4, 1, 1, true}, "cpu"},
                      Param{"mistral", ParallelShape{4, 1, 1, true}, "cpu"},
                      Param{"quantised/llama_int8", ParallelShape{2, 1, 1, true}, "cpu"},
                      Param{"quantised/qwen2_awq", ParallelShape{2, 1, 1, true}, "cpu"},
                      Param{"qwen3", ParallelShape{2, 1, 2, true}, "cpu"}),
    NameOf);

}  // namespace
}  // namespace inferd
