// The device's sampler in emulation draws the reference's tokens.
#include "cuda/sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "backends/cuda/sample_arguments.h"
#include "backends/ref/ref_sampling.h"
#include "cuda/philox.h"
#include "inferd/base/random.h"
#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Sampler {
 public:
  Sampler(int32_t vocab, int32_t max_rows)
      : vocab_(vocab),
        max_rows_(max_rows),
        workspace_(std::vector<unsigned char>(SampleWorkspaceBytes(max_rows, vocab, true), 0)) {}

  std::vector<SampleOutput> Sample(const std::vector<float>& logits,
                                   const std::vector<SampleRow>& rows) {
    const auto count = static_cast<int32_t>(rows.size());
    SampleArguments arguments;
    arguments.Set(rows, vocab_);
    EXPECT_TRUE(arguments.fits());
    DeviceArray<int32_t> drawn(drawn_);
    DeviceArray<float> device_logits(logits);
    DeviceArray<SampleSpec> specs(arguments.specs());
    DeviceArray<int32_t> bias_ids(arguments.bias_ids());
    DeviceArray<float> bias_values(arguments.bias_values());
    DeviceArray<int32_t> banned_ids(arguments.banned_ids());
    DeviceArray<int32_t> seen_ids(arguments.seen_ids());
    DeviceArray<int32_t> seen_counts(arguments.seen_counts());
    DeviceArray<SampleResult> results(rows.size());
    DeviceArray<int32_t> top_ids(rows.size() * kMaxLogprobs);
    DeviceArray<float> top_logprobs(rows.size() * kMaxLogprobs);
    SampleParams p;
    p.logits = device_logits.data();
    p.vocabulary = vocab_;
    p.num_rows = count;
    p.specs = specs.data();
    p.bias_ids = bias_ids.data();
    p.bias_values = bias_values.data();
    p.banned_ids = banned_ids.data();
    p.seen_ids = seen_ids.data();
    p.seen_counts = seen_counts.data();
    p.drawn = drawn.data();
    p.results = results.data();
    p.top_ids = top_ids.data();
    p.top_logprobs = top_logprobs.data();
    p.workspace = workspace_.data();
    p.max_rows = max_rows_;
    arguments.SetFlags(&p);
    EXPECT_EQ(cuda::Sample(p, nullptr), 0) << emulator::LastError();
    std::vector<SampleOutput> out;
    for (size_t i = 0; i < rows.size(); ++i) {
      out.push_back({results[i].token, results[i].corrupted != 0, results[i].logprob, {}});
      if (rows[i].slot >= 0) {
        EXPECT_EQ(drawn[static_cast<size_t>(rows[i].slot)],
                  out.back().corrupted ? 0 : results[i].token);
      }
      for (int32_t j = 0; j < results[i].num_top; ++j) {
        const size_t at = i * kMaxLogprobs + static_cast<size_t>(j);
        out.back().top.emplace_back(top_ids[at], top_logprobs[at]);
      }
    }
    return out;
  }

  // By slot: what earlier steps drew.
  void SetDrawn(std::vector<int32_t> drawn) { drawn_ = std::move(drawn); }

 private:
  const int32_t vocab_;
  const int32_t max_rows_;
  std::vector<int32_t> drawn_ = std::vector<int32_t>(1);
  DeviceArray<unsigned char> workspace_;
};

std::vector<SampleOutput> Reference(std::vector<float> logits, const std::vector<SampleRow>& rows) {
  RefSamplerMemory memory;
  std::vector<SampleOutput> out(rows.size());
  const size_t vocab = logits.size() / rows.size();
  for (size_t i = 0; i < rows.size(); ++i) {
    RefSampleRow({logits.data() + i * vocab, vocab}, rows[i], &memory, &out[i]);
  }
  return out;
}

void ExpectSame(const SampleOutput& actual, const SampleOutput& expected) {
  EXPECT_EQ(actual.token, expected.token);
  EXPECT_EQ(actual.corrupted, expected.corrupted);
  EXPECT_NEAR(actual.logprob, expected.logprob, 1e-5 * (1 + std::fabs(expected.logprob)));
  ASSERT_EQ(actual.top.size(), expected.top.size());
  for (size_t i = 0; i < actual.top.size(); ++i) {
    EXPECT_EQ(actual.top[i].first, expected.top[i].first) << i;
    if (std::isinf(expected.top[i].second)) {
      EXPECT_EQ(actual.top[i].second, expected.top[i].second);
    } else {
      EXPECT_NEAR(actual.top[i].second, expected.top[i].second,
                  1e-5 * (1 + std::fabs(expected.top[i].second)));
    }
  }
}

// Whether each launch may begin while the one before it ends.
std::vector<bool>& EarlyLaunches() {
  static std::vector<bool> launches;
  return launches;
}
int KeepLaunch(Stream, const LaunchShape& shape, void (*)(const void*), const void*, size_t) {
  EarlyLaunches().push_back(shape.early);
  return 0;
}

// Its arguments come by a copy, to which early launches are not tied.
TEST(DeviceSampling, TheFirstKernelWaitsForItsArguments) {
  for (const bool logprobs : {false, true}) {
    for (const bool adjusted : {false, true}) {
      SampleParams p;
      p.vocabulary = 100;
      p.num_rows = p.max_rows = 1;
      p.any_logprobs = logprobs;
      p.any_adjusted = adjusted;
      p.any_drawn = p.any_ranked = true;
      EarlyLaunches().clear();
      emulator::SetLaunchSink(&KeepLaunch);
      char stream = 0;  // none would be run at once
      EXPECT_EQ(cuda::Sample(p, reinterpret_cast<Stream>(&stream)), 0);
      emulator::SetLaunchSink(nullptr);
      std::vector<bool> expected(3U + logprobs + adjusted, true);
      expected[0] = false;
      EXPECT_EQ(EarlyLaunches(), expected);
    }
  }
}

TEST(DeviceSampling, PhiloxIsTheSame) {
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint64_t seed = i * 0x9E3779B97F4A7C15U;
    const uint64_t position = i * i * 0x100000001U;
    const auto draw = static_cast<uint32_t>(i * 7919);
    EXPECT_EQ(UniformFromWord(Philox(seed, position, draw / 4).words[draw % 4]),
              PhiloxUniform(seed, position, draw));
  }
}

TEST(DeviceSampling, TheSameTokensAsTheReference) {
  std::mt19937 random(321);
  const auto uniform = [&](float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random);
  };
  const auto pick = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  constexpr int kRows = 4;
  int draws = 0;
  int hidden = 0;
  for (const int32_t vocab : {1, 2, 17, 100, 1003, 20000}) {
    Sampler sampler(vocab, kRows + 1);
    const int rounds = (vocab > 10000 ? 6 : 30) / (kInstrumented ? 3 : 1);
    for (int round = 0; round < rounds; ++round) {
      std::vector<float> logits(static_cast<size_t>(kRows * vocab));
      const int kind = pick(5);
      std::normal_distribution<float> normal(0, kind == 0 ? 0.01F : kind == 1 ? 10.0F : 3.0F);
      for (float& l : logits) {
        l = normal(random);
        if (kind == 2) l = std::round(l);                    // many ties
        if (kind == 3 && pick(4) == 0) l = -kInfinity;       // holes
        if (kind == 4) l = std::round(l * 2) * 20 + 1.0e4F;  // far from 0
      }
      std::vector<std::vector<std::pair<TokenId, float>>> bias(kRows);
      std::vector<std::vector<TokenId>> banned(kRows);
      std::vector<std::vector<TokenId>> history(kRows);
      std::vector<SampleRow> rows;
      for (size_t i = 0; i < kRows; ++i) {
        SampleRow row;
        row.temperature = pick(4) == 0 ? 0.0F : pick(6) == 0 ? 1e-7F : uniform(0.2F, 2.0F);
        if (pick(2) == 0) row.top_k = 1 + pick(pick(2) == 0 ? 5 : 2 * vocab);
        if (pick(2) == 0) row.top_p = pick(6) == 0 ? 0.0F : uniform(0.0F, 1.0F);
        if (pick(3) == 0) row.min_p = uniform(0.0F, 0.5F);
        if (pick(3) == 0) row.logprobs = std::min(pick(12), vocab + 1);
        const auto tokens = [&](auto& list, auto make) {
          for (int j = pick(9); j > 0; --j) list.push_back(make(pick(vocab + 2) - 1));
        };
        if (pick(3) == 0) {
          tokens(bias[i], [&](TokenId id) { return std::make_pair(id, uniform(-3, 3)); });
        }
        if (pick(4) == 0) tokens(banned[i], [](TokenId id) { return id; });
        if (pick(3) == 0) {
          for (int j = 0; j < 3; ++j) tokens(history[i], [](TokenId id) { return id; });
          row.repetition_penalty = uniform(0.5F, 1.5F);
          row.presence_penalty = uniform(-1, 1);
          row.frequency_penalty = uniform(-1, 1);
          row.num_prompt = static_cast<int32_t>(history[i].size()) / 2;
        }
        row.logit_bias = bias[i];
        row.banned = banned[i];
        row.history = history[i];
        row.seed = random();
        row.position = static_cast<uint64_t>(pick(100000));
        rows.push_back(row);
      }
      emulator::SetSeed(static_cast<uint64_t>(round));
      const auto expected = Reference(logits, rows);
      // The host may not know the last token yet; the device keeps it by slot.
      std::vector<int32_t> drawn(kRows + 2, vocab > 1 ? 1 : 0);
      for (size_t i = 0; i < kRows; ++i) {
        rows[i].slot = static_cast<SlotId>(kRows - i);
        if (history[i].empty() || history[i].back() < 0) continue;
        drawn[static_cast<size_t>(rows[i].slot)] = std::exchange(history[i].back(), -1);
        ++hidden;
      }
      sampler.SetDrawn(drawn);
      const auto actual = sampler.Sample(logits, rows);
      for (size_t i = 0; i < kRows; ++i) {
        SCOPED_TRACE(::testing::Message()
                     << "vocab " << vocab << " round " << round << " row " << i << " kind " << kind
                     << " T " << rows[i].temperature << " k " << rows[i].top_k << " p "
                     << rows[i].top_p << " min_p " << rows[i].min_p);
        ExpectSame(actual[i], expected[i]);
        draws += rows[i].temperature > 0 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(draws, kInstrumented ? 100 : 300);
  EXPECT_GT(hidden, kInstrumented ? 20 : 60);
}

// Sets that top_k and top_p leave, by drawing from them often.
TEST(DeviceSampling, DrawsOnlyWhatRanksLeaveAndAllOfIt) {
  // Ties at the border go to lower ids.
  const std::vector<float> one = {1, 3, 2, 3, 2, 2, -kInfinity, 2};
  struct Case {
    int32_t top_k;
    float top_p;
    std::vector<TokenId> kept;
  };
  for (const Case& c :
       {Case{3, 1, {1, 2, 3}}, Case{4, 1, {1, 2, 3, 4}}, Case{1, 1, {1}}, Case{0, 0.5F, {1, 2, 3}},
        Case{7, 0.01F, {1}}, Case{5, 0.75F, {1, 2, 3, 4}}}) {
    constexpr size_t kDraws = 48;
    std::vector<float> logits;
    std::vector<SampleRow> rows(kDraws);
    for (size_t i = 0; i < kDraws; ++i) {
      logits.insert(logits.end(), one.begin(), one.end());
      rows[i].top_k = c.top_k;
      rows[i].top_p = c.top_p;
      rows[i].seed = i;
      rows[i].temperature = 2.0F;
    }
    const auto expected = Reference(logits, rows);
    const auto actual = Sampler(8, kDraws).Sample(logits, rows);
    std::vector<bool> seen(8, false);
    for (size_t i = 0; i < kDraws; ++i) {
      EXPECT_EQ(actual[i].token, expected[i].token);
      seen[static_cast<size_t>(actual[i].token)] = true;
    }
    for (TokenId id = 0; id < 8; ++id) {
      EXPECT_EQ(seen[static_cast<size_t>(id)],
                std::find(c.kept.begin(), c.kept.end(), id) != c.kept.end())
          << id;
    }
  }
}

TEST(DeviceSampling, CorruptedRowsAndNothingLeft) {
  const std::vector<float> fine = {1, 2, 3, 4};
  const TokenId two[] = {2};
  const TokenId all[] = {0, 1, 2, 3};
  std::vector<SampleRow> rows(6);
  std::vector<float> logits;
  for (int i = 0; i < 6; ++i) logits.insert(logits.end(), fine.begin(), fine.end());
  logits[1] = NAN;
  logits[4 + 2] = kInfinity;
  logits[8 + 2] = NAN;  // banned, but the row is corrupted all the same
  rows[2].banned = two;
  rows[3].banned = all;
  rows[4].banned = two;
  rows[4].logprobs = 2;
  rows[5].temperature = 0;
  const std::pair<TokenId, float> bias[] = {{0, kInfinity}};
  rows[5].logit_bias = bias;
  const auto expected = Reference(logits, rows);
  const auto actual = Sampler(4, 6).Sample(logits, rows);
  for (size_t i = 0; i < 6; ++i) {
    SCOPED_TRACE(i);
    ExpectSame(actual[i], expected[i]);
    EXPECT_EQ(actual[i].corrupted, i != 4);
  }
}

TEST(DeviceSampling, RefusesWhatItHasNoRoomFor) {
  SampleParams p;
  p.num_rows = 2;
  p.max_rows = 1;
  p.vocabulary = 8;
  EXPECT_EQ(cuda::Sample(p, nullptr), kBadArguments);
  p.max_rows = 2;
  p.vocabulary = 1 << 21;
  EXPECT_EQ(cuda::Sample(p, nullptr), kBadArguments);
  p.num_rows = 0;
  EXPECT_EQ(cuda::Sample(p, nullptr), 0);
  SampleRow many;
  many.logprobs = kMaxLogprobs + 1;
  SampleArguments arguments;
  arguments.Set({&many, 1}, 8);
  EXPECT_FALSE(arguments.fits());
}

}  // namespace
}  // namespace inferd::cuda::testing
