// The samplers against each other and against the contract's words.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "inferd/backends/backend.h"

namespace inferd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Sampler {
 public:
  Sampler(std::string_view name, int64_t vocab, int32_t rows = 8) : vocab_(vocab) {
    auto backend = CreateBackend(name, {2, nullptr});
    INFERD_CHECK(backend.ok());
    backend_ = std::move(*backend);
    Ops& ops = backend_->ops();
    const int64_t bytes = ops.ScratchBytes(rows, rows, 1, vocab);
    auto scratch = Buffer::Create(ops.allocator(), static_cast<size_t>(bytes));
    INFERD_CHECK(scratch.ok());
    scratch_ = std::move(*scratch);
    ops.Fill(scratch_.data(), 0xff, static_cast<size_t>(bytes));
    ops.SetScratch({scratch_.data(), DType::kU8, {bytes}});
  }

  // `logits` [rows.size(), vocab]; a copy is overwritten.
  std::vector<SampleOutput> Sample(std::vector<float> logits, const std::vector<SampleRow>& rows) {
    std::vector<SampleOutput> out(rows.size());
    const auto count = static_cast<int64_t>(rows.size());
    Ops& ops = backend_->ops();
    const size_t bytes = logits.size() * sizeof(float);
    const Buffer device = Buffer::Create(ops.allocator(), bytes).value();
    ops.CopyIn(device.data(), logits.data(), bytes);
    ops.Sample({device.data(), DType::kF32, {count, vocab_}}, rows, out);
    EXPECT_TRUE(ops.Finish().ok());
    return out;
  }
  SampleOutput One(const std::vector<float>& logits, const SampleRow& row) {
    return Sample(logits, {row})[0];
  }

 private:
  int64_t vocab_;
  std::unique_ptr<Backend> backend_;
  Buffer scratch_;
};

SampleRow Greedy() {
  SampleRow row;
  row.temperature = 0;
  return row;
}

// Of those of BackendNames.
class SamplingTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    const auto backend = CreateBackend(GetParam(), {2, nullptr});
    if (!backend.ok()) GTEST_SKIP() << backend.status().ToString();
  }
};

TEST_P(SamplingTest, TheSameTokensAsTheReference) {
  if (GetParam() == "ref") GTEST_SKIP() << "it is the reference";
  std::mt19937 random(123);
  const auto uniform = [&](float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random);
  };
  const auto pick = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  int draws = 0;
  for (const int64_t vocab : {1, 2, 15, 16, 17, 100, 1000, 3003}) {
    Sampler ref("ref", vocab);
    Sampler other(GetParam(), vocab);
    for (int round = 0; round < 250; ++round) {
      constexpr int kRows = 3;
      std::vector<float> logits(static_cast<size_t>(kRows * vocab));
      const int kind = pick(5);
      const float deviation = kind == 0 ? 0.01F : kind == 1 ? 10.0F : 3.0F;
      std::normal_distribution<float> normal(0, deviation);
      for (float& l : logits) {
        l = normal(random);
        if (kind == 2) l = std::round(l);                    // many ties
        if (kind == 3 && pick(4) == 0) l = -kInfinity;       // holes
        if (kind == 4) l = std::round(l * 2) * 20 + 1.0e4F;  // far from 0
      }
      std::vector<std::vector<TokenId>> histories(kRows);
      std::vector<std::vector<TokenId>> banned(kRows);
      std::vector<std::vector<std::pair<TokenId, float>>> bias(kRows);
      std::vector<SampleRow> rows(kRows);
      for (int i = 0; i < kRows; ++i) {
        SampleRow& row = rows[i];
        const float temperatures[] = {0.0F, 1e-6F, 0.3F, 0.7F, 1.0F, 1.0F, 2.0F, 100.0F};
        row.temperature = temperatures[pick(8)];
        if (pick(2) == 0) row.top_k = 1 + pick(static_cast<int>(vocab) + 10);
        if (pick(2) == 0) row.top_p = pick(4) == 0 ? 0.5F : uniform(0.001F, 1.0F);
        if (pick(3) == 0) row.min_p = pick(4) == 0 ? 1.0F : uniform(0.0F, 0.3F);
        if (pick(3) == 0) {
          row.repetition_penalty = uniform(0.5F, 2.0F);
          row.presence_penalty = uniform(-2.0F, 2.0F);
          row.frequency_penalty = uniform(-2.0F, 2.0F);
          for (int j = 0; j < 20; ++j) {
            histories[i].push_back(pick(static_cast<int>(vocab) + 2));  // some out of range
          }
          row.history = histories[i];
          row.num_prompt = pick(20);
        }
        if (pick(4) == 0) {
          for (int j = 0; j < 3; ++j) banned[i].push_back(pick(static_cast<int>(vocab)));
          row.banned = banned[i];
        }
        if (pick(4) == 0) {
          bias[i] = {{pick(static_cast<int>(vocab)), uniform(-100, 100)}, {-1, 5.0F}};
          row.logit_bias = bias[i];
        }
        row.seed = random();
        row.position = static_cast<uint64_t>(pick(100000));
        row.logprobs = pick(3) == 0 ? pick(6) : -1;
      }
      const auto expected = ref.Sample(logits, rows);
      const auto actual = other.Sample(logits, rows);
      for (int i = 0; i < kRows; ++i) {
        SCOPED_TRACE(::testing::Message() << "vocab " << vocab << " round " << round << " row " << i
                                          << " T " << rows[i].temperature << " k " << rows[i].top_k
                                          << " p " << rows[i].top_p << " min_p " << rows[i].min_p);
        ASSERT_EQ(actual[i].token, expected[i].token);
        ASSERT_EQ(actual[i].corrupted, expected[i].corrupted);
        ASSERT_NEAR(actual[i].logprob, expected[i].logprob,
                    1e-4 * (1 + std::abs(expected[i].logprob)));
        ASSERT_EQ(actual[i].top.size(), expected[i].top.size());
        for (size_t j = 0; j < actual[i].top.size(); ++j) {
          ASSERT_EQ(actual[i].top[j].first, expected[i].top[j].first);
          if (std::isinf(expected[i].top[j].second)) {
            ASSERT_EQ(actual[i].top[j].second, expected[i].top[j].second);
          } else {
            ASSERT_NEAR(actual[i].top[j].second, expected[i].top[j].second,
                        1e-4 * (1 + std::abs(expected[i].top[j].second)));
          }
        }
        ++draws;
      }
    }
  }
  EXPECT_EQ(draws, 8 * 250 * 3);
}

TEST_P(SamplingTest, NaNAndPositiveInfinityCorruptTheirRowOnly) {
  for (const int64_t bad : {0, 15, 16, 36}) {
    for (const float value : {NAN, -NAN, kInfinity}) {
      Sampler sampler(GetParam(), 37);
      std::vector<float> logits(37 * 2, 0.0F);
      logits[bad] = value;
      logits[37 + 5] = 1.0F;
      const auto out = sampler.Sample(logits, {Greedy(), Greedy()});
      EXPECT_TRUE(out[0].corrupted);
      EXPECT_EQ(out[0].token, -1);
      EXPECT_FALSE(out[1].corrupted);
      EXPECT_EQ(out[1].token, 5);
    }
  }
}

TEST_P(SamplingTest, ARowWithNothingToDrawIsCorrupted) {
  Sampler sampler(GetParam(), 19);
  const std::vector<float> none(19, -kInfinity);
  for (const float temperature : {0.0F, 1.0F}) {
    SampleRow row;
    row.temperature = temperature;
    EXPECT_TRUE(sampler.One(none, row).corrupted);
  }
  const std::vector<TokenId> all = {0,  1,  2,  3,  4,  5,  6,  7,  8, 9,
                                    10, 11, 12, 13, 14, 15, 16, 17, 18};
  SampleRow row;
  row.banned = all;
  EXPECT_TRUE(sampler.One(std::vector<float>(19, 1.0F), row).corrupted);
}

TEST_P(SamplingTest, GreedyTakesTheLowestOfEqualIds) {
  Sampler sampler(GetParam(), 50);
  std::vector<float> logits(50, -1.0F);
  logits[17] = logits[33] = logits[49] = 2.0F;
  EXPECT_EQ(sampler.One(logits, Greedy()).token, 17);
}

TEST_P(SamplingTest, TinyTemperatureIsGreedy) {
  Sampler sampler(GetParam(), 50);
  std::vector<float> logits(50);
  for (int i = 0; i < 50; ++i) logits[i] = static_cast<float>((i * 31) % 50);
  SampleRow row;
  for (const float temperature : {1e-6F, 1e-30F, 1e-44F}) {
    row.temperature = temperature;
    for (const float top_p : {0.5F, 1.0F}) {
      row.top_p = top_p;
      EXPECT_EQ(sampler.One(logits, row).token, sampler.One(logits, Greedy()).token);
    }
  }
}

TEST_P(SamplingTest, TopKOneAndTinyTopPKeepTheLikeliest) {
  Sampler sampler(GetParam(), 40);
  std::vector<float> logits(40);
  for (int i = 0; i < 40; ++i) logits[i] = static_cast<float>((i * 7) % 40) * 0.01F;
  const TokenId likeliest = sampler.One(logits, Greedy()).token;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SampleRow row;
    row.seed = seed;
    row.top_k = 1;
    EXPECT_EQ(sampler.One(logits, row).token, likeliest);
    row.top_k = 0;
    row.top_p = 1e-9F;
    EXPECT_EQ(sampler.One(logits, row).token, likeliest);
    row.top_p = 1;
    row.min_p = 1;
    EXPECT_EQ(sampler.One(logits, row).token, likeliest);
  }
}

TEST_P(SamplingTest, PenaltiesCountTheOutputPart) {
  Sampler sampler(GetParam(), 4);
  // Token 2 stands twice in the output part: 3 - (2 * 0.5 + 1) = 1 < 1.5; token
  // 3 in the prompt only, so it keeps its 1.2.
  const std::vector<float> logits = {0.0F, 1.5F, 3.0F, 1.2F};
  const std::vector<TokenId> history = {3, 3, 3, 2, 2};
  SampleRow row = Greedy();
  row.history = history;
  row.num_prompt = 3;
  row.frequency_penalty = 0.5F;
  row.presence_penalty = 1.0F;
  EXPECT_EQ(sampler.One(logits, row).token, 1);
  row.frequency_penalty = 0.2F;  // 3 - 1.4 = 1.6
  EXPECT_EQ(sampler.One(logits, row).token, 2);
  row.frequency_penalty = row.presence_penalty = 0;
  row.repetition_penalty = 4.0F;  // prompt tokens too, once each: 3 / 4, 1.2 / 4
  EXPECT_EQ(sampler.One(logits, row).token, 1);
}

TEST_P(SamplingTest, LogprobsAreOfTheLogitsAsTheyCame) {
  Sampler sampler(GetParam(), 3);
  const std::vector<float> logits = {std::log(0.2F), std::log(0.5F), std::log(0.3F)};
  const std::vector<std::pair<TokenId, float>> bias = {{0, 50.0F}};
  SampleRow row = Greedy();
  row.logit_bias = bias;
  row.logprobs = 2;
  const SampleOutput out = sampler.One(logits, row);
  EXPECT_EQ(out.token, 0);
  EXPECT_NEAR(out.logprob, std::log(0.2F), 1e-5);
  ASSERT_EQ(out.top.size(), 2u);
  EXPECT_EQ(out.top[0].first, 1);
  EXPECT_NEAR(out.top[0].second, std::log(0.5F), 1e-5);
  EXPECT_EQ(out.top[1].first, 2);
}

TEST_P(SamplingTest, DrawsFollowTheDistribution) {
  Sampler sampler(GetParam(), 4);
  const double p[] = {0.5, 0.25, 0.15, 0.1};
  std::vector<float> logits;
  for (const double x : p) logits.push_back(static_cast<float>(std::log(x)));
  constexpr int kDraws = 20000;
  int counts[4] = {};
  int kept_counts[4] = {};
  for (int i = 0; i < kDraws; ++i) {
    SampleRow row;
    row.seed = 99;
    row.position = static_cast<uint64_t>(i);
    ++counts[sampler.One(logits, row).token];
    row.top_p = 0.7F;  // keeps 0.5 and 0.25
    ++kept_counts[sampler.One(logits, row).token];
  }
  double chi_square = 0;
  for (int i = 0; i < 4; ++i) {
    const double expected = p[i] * kDraws;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 16.27);  // 3 degrees of freedom, 0.1 %
  EXPECT_NEAR(static_cast<double>(kept_counts[0]) / kDraws, 2.0 / 3, 0.02);
  EXPECT_EQ(kept_counts[2] + kept_counts[3], 0);
}

TEST_P(SamplingTest, ADrawDoesNotDependOnItsNeighbours) {
  Sampler sampler(GetParam(), 200);
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits(200 * 8);
  for (float& l : logits) l = normal(random);
  std::vector<SampleRow> rows(8);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].seed = i;
    rows[i].top_p = i % 2 == 0 ? 0.8F : 1.0F;
  }
  const auto together = sampler.Sample(logits, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<float> own(logits.begin() + static_cast<int64_t>(i) * 200,
                                 logits.begin() + static_cast<int64_t>(i + 1) * 200);
    EXPECT_EQ(sampler.One(own, rows[i]).token, together[i].token);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, SamplingTest, ::testing::ValuesIn(BackendNames()),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace inferd
