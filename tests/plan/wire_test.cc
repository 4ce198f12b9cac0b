// Plans and results survive the way through bytes, and nothing else does.
#include "inferd/plan/wire.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>

namespace inferd {
namespace {

using Bytes = std::vector<std::byte>;

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  // Often an extreme one.
  template <typename T>
  T Number() {
    if (Below(4) == 0)
      return Below(2) == 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    return static_cast<T>(random_());
  }
  // Any bits: infinities and NaNs too.
  float Float() { return std::bit_cast<float>(static_cast<uint32_t>(random_())); }
  size_t Below(size_t n) { return static_cast<size_t>(random_()) % n; }
  std::string Text() {
    std::string text(Below(20), '\0');
    for (char& c : text) c = static_cast<char>(random_());
    return text;
  }
  template <typename T>
  std::vector<T> Numbers(size_t most) {
    std::vector<T> numbers(Below(most + 1));
    for (T& number : numbers) number = Number<T>();
    return numbers;
  }
  // A part of `size` things: the first, and how many.
  std::pair<int32_t, int32_t> Part(size_t size) {
    const size_t first = Below(size + 1);
    return {static_cast<int32_t>(first), static_cast<int32_t>(Below(size - first + 1))};
  }

 private:
  std::mt19937_64 random_;
};

BatchPlan AnyPlan(Draw& draw) {
  BatchPlan plan;
  plan.step = draw.Number<StepId>();
  plan.released = draw.Numbers<SlotId>(5);
  plan.new_blocks = draw.Numbers<BlockId>(9);
  plan.tokens = draw.Numbers<TokenId>(40);
  plan.admitted.resize(draw.Below(4));
  for (AdmittedSequence& a : plan.admitted) {
    a.slot = draw.Number<SlotId>();
    std::tie(a.first_token, a.num_tokens) = draw.Part(plan.tokens.size());
    a.num_prompt = draw.Number<int32_t>();
    SamplingParams& s = a.sampling;
    for (float* f : {&s.temperature, &s.top_p, &s.min_p, &s.repetition_penalty, &s.presence_penalty,
                     &s.frequency_penalty}) {
      *f = draw.Float();
    }
    s.top_k = draw.Number<int32_t>();
    for (size_t i = draw.Below(4); i > 0; --i) {
      s.logit_bias.emplace_back(draw.Number<TokenId>(), draw.Float());
    }
    s.min_tokens = draw.Number<int32_t>();
    s.banned_until_min = draw.Numbers<TokenId>(3);
    s.seed = draw.Number<uint64_t>();
    s.logprobs = draw.Number<int32_t>();
  }
  plan.entries.resize(draw.Below(6));
  for (StepEntry& e : plan.entries) {
    e.slot = draw.Number<SlotId>();
    e.start = draw.Number<int32_t>();
    e.count = draw.Number<int32_t>();
    const auto [first, count] = draw.Part(plan.new_blocks.size());
    e.first_new_block = first;
    e.num_new_blocks = static_cast<uint16_t>(count);
    e.sample = static_cast<uint8_t>(draw.Below(2));
    e.input_on_device = static_cast<uint8_t>(draw.Below(2));
    e.input_token = draw.Number<TokenId>();
  }
  return plan;
}

StepResult AnyResult(Draw& draw) {
  StepResult result;
  result.step = draw.Number<StepId>();
  result.top.resize(draw.Below(8));
  const auto token = [&draw] {
    return std::min(draw.Number<TokenId>(), std::numeric_limits<TokenId>::max() - 1);
  };
  for (TokenLogprob& top : result.top) top = {token(), draw.Float()};
  result.outputs.resize(draw.Below(6));
  for (StepOutput& o : result.outputs) {
    o.slot = draw.Number<SlotId>();
    o.token = token();
    o.logprob = draw.Float();
    std::tie(o.first_top, o.num_top) = draw.Part(result.top.size());
    o.corrupted = draw.Below(2) == 1;
  }
  result.stage_us.resize(draw.Below(4));
  for (int64_t& us : result.stage_us) us = draw.Number<int64_t>();
  result.device_us = static_cast<int64_t>(draw.Below(1'000'000)) - 1;
  const auto code = static_cast<StatusCode>(draw.Below(17));
  if (code == StatusCode::kOk) return result;
  result.error = Status(code, draw.Text());
  if (draw.Below(2) == 0) {
    ErrorDetail detail{draw.Text(), draw.Text(), draw.Number<int64_t>(), {}};
    for (size_t i = draw.Below(3); i > 0; --i) {
      detail.metadata.emplace_back(draw.Text(), draw.Text());
    }
    result.error = Status(code, draw.Text(), std::move(detail));
  }
  return result;
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

void ExpectSame(const SamplingParams& a, const SamplingParams& b) {
  EXPECT_TRUE(SameBits(a.temperature, b.temperature));
  EXPECT_EQ(a.top_k, b.top_k);
  EXPECT_TRUE(SameBits(a.top_p, b.top_p));
  EXPECT_TRUE(SameBits(a.min_p, b.min_p));
  EXPECT_TRUE(SameBits(a.repetition_penalty, b.repetition_penalty));
  EXPECT_TRUE(SameBits(a.presence_penalty, b.presence_penalty));
  EXPECT_TRUE(SameBits(a.frequency_penalty, b.frequency_penalty));
  ASSERT_EQ(a.logit_bias.size(), b.logit_bias.size());
  for (size_t i = 0; i < a.logit_bias.size(); ++i) {
    EXPECT_EQ(a.logit_bias[i].first, b.logit_bias[i].first);
    EXPECT_TRUE(SameBits(a.logit_bias[i].second, b.logit_bias[i].second));
  }
  EXPECT_EQ(a.min_tokens, b.min_tokens);
  EXPECT_EQ(a.banned_until_min, b.banned_until_min);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.logprobs, b.logprobs);
}

void ExpectSame(const BatchPlan& a, const BatchPlan& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.released, b.released);
  EXPECT_EQ(a.new_blocks, b.new_blocks);
  EXPECT_EQ(a.tokens, b.tokens);
  ASSERT_EQ(a.admitted.size(), b.admitted.size());
  for (size_t i = 0; i < a.admitted.size(); ++i) {
    const AdmittedSequence& x = a.admitted[i];
    const AdmittedSequence& y = b.admitted[i];
    EXPECT_EQ(std::tie(x.slot, x.first_token, x.num_tokens, x.num_prompt),
              std::tie(y.slot, y.first_token, y.num_tokens, y.num_prompt));
    ExpectSame(x.sampling, y.sampling);
  }
  ASSERT_EQ(a.entries.size(), b.entries.size());
  for (size_t i = 0; i < a.entries.size(); ++i) {
    EXPECT_EQ(std::memcmp(&a.entries[i], &b.entries[i], sizeof(StepEntry)), 0);
  }
}

void ExpectSame(const StepResult& a, const StepResult& b) {
  EXPECT_EQ(a.step, b.step);
  ASSERT_EQ(a.top.size(), b.top.size());
  for (size_t i = 0; i < a.top.size(); ++i) {
    EXPECT_EQ(a.top[i].token, b.top[i].token);
    EXPECT_TRUE(SameBits(a.top[i].logprob, b.top[i].logprob));
  }
  ASSERT_EQ(a.outputs.size(), b.outputs.size());
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    const StepOutput& x = a.outputs[i];
    const StepOutput& y = b.outputs[i];
    EXPECT_EQ(std::tie(x.slot, x.token, x.first_top, x.num_top, x.corrupted),
              std::tie(y.slot, y.token, y.first_top, y.num_top, y.corrupted));
    EXPECT_TRUE(SameBits(x.logprob, y.logprob));
  }
  EXPECT_EQ(a.stage_us, b.stage_us);
  EXPECT_EQ(a.device_us, b.device_us);
  EXPECT_EQ(a.error.ToString(), b.error.ToString());
  ASSERT_EQ(a.error.detail() == nullptr, b.error.detail() == nullptr);
  if (a.error.detail() == nullptr) return;
  EXPECT_EQ(a.error.detail()->reason, b.error.detail()->reason);
  EXPECT_EQ(a.error.detail()->field, b.error.detail()->field);
  EXPECT_EQ(a.error.detail()->retry_after_ms, b.error.detail()->retry_after_ms);
  EXPECT_EQ(a.error.detail()->metadata, b.error.detail()->metadata);
}

Bytes PlanBytes(const BatchPlan& plan) {
  Bytes bytes;
  EncodePlan(plan, bytes);
  return bytes;
}

Bytes ResultBytes(const StepResult& result) {
  Bytes bytes;
  EncodeResult(result, bytes);
  return bytes;
}

// Of a vocabulary that has every token but the largest number.
StatusOr<StepResult> DecodeAnyResult(std::span<const std::byte> bytes) {
  return DecodeResult(bytes, std::numeric_limits<TokenId>::max());
}

TEST(WireTest, PlansComeBackBitByBit) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    Draw draw(seed);
    const BatchPlan plan = AnyPlan(draw);
    const auto back = DecodePlan(PlanBytes(plan));
    ASSERT_TRUE(back.ok()) << seed << ": " << back.status().ToString();
    ExpectSame(plan, *back);
  }
}

TEST(WireTest, ResultsComeBackBitByBit) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    Draw draw(seed);
    const StepResult result = AnyResult(draw);
    const auto back = DecodeAnyResult(ResultBytes(result));
    ASSERT_TRUE(back.ok()) << seed << ": " << back.status().ToString();
    ExpectSame(result, *back);
  }
}

TEST(WireTest, TheSmallestOfEachThingIsTaken) {
  BatchPlan plan;
  plan.admitted.resize(1);
  EXPECT_TRUE(DecodePlan(PlanBytes(plan)).ok());
  plan.admitted.resize(3);
  plan.entries.resize(1);
  EXPECT_TRUE(DecodePlan(PlanBytes(plan)).ok());
  StepResult result;
  result.outputs.resize(1);
  EXPECT_TRUE(DecodeAnyResult(ResultBytes(result)).ok());
}

// Only one value has given bytes, so damage is refused or is another valid value; and
// every part that is missing or left over is noticed.
template <typename Decode, typename Encode>
void DamageIsNoticed(const Bytes& bytes, const Decode& decode, const Encode& encode) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = decode(std::span(bytes).first(size));
    EXPECT_EQ(cut.status().code(), StatusCode::kDataLoss) << "cut to " << size;
  }
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(longer).ok());
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      Bytes damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(flip);
      const auto value = decode(damaged);
      if (value.ok()) {
        EXPECT_EQ(encode(value.value()), damaged) << "byte " << at;
      }
    }
  }
}

TEST(WireTest, DamagedPlansAreRefusedOrAreOtherPlans) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Draw draw(seed);
    DamageIsNoticed(PlanBytes(AnyPlan(draw)), DecodePlan, PlanBytes);
  }
}

TEST(WireTest, DamagedResultsAreRefusedOrAreOtherResults) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Draw draw(seed);
    DamageIsNoticed(ResultBytes(AnyResult(draw)), DecodeAnyResult, ResultBytes);
  }
}

TEST(WireTest, CountsAndIndicesOutOfRangeAreRefused) {
  BatchPlan plan;
  plan.tokens = {1, 2, 3};
  plan.new_blocks = {7};
  plan.admitted.resize(1);
  plan.entries.resize(1);
  ASSERT_TRUE(DecodePlan(PlanBytes(plan)).ok());
  const auto refused = [&plan](auto change) {
    BatchPlan changed = plan;
    change(changed);
    return DecodePlan(PlanBytes(changed)).status().code() == StatusCode::kDataLoss;
  };
  EXPECT_TRUE(refused([](BatchPlan& p) { p.admitted[0].num_tokens = 4; }));
  EXPECT_TRUE(refused([](BatchPlan& p) { p.admitted[0].first_token = -1; }));
  EXPECT_TRUE(refused([](BatchPlan& p) {
    p.admitted[0].first_token = std::numeric_limits<int32_t>::max();
    p.admitted[0].num_tokens = std::numeric_limits<int32_t>::max();
  }));
  EXPECT_TRUE(refused([](BatchPlan& p) { p.entries[0].num_new_blocks = 2; }));
  EXPECT_TRUE(refused([](BatchPlan& p) { p.entries[0].first_new_block = -1; }));
  EXPECT_TRUE(refused([](BatchPlan& p) { p.entries[0].sample = 2; }));
  EXPECT_TRUE(refused([](BatchPlan& p) { p.entries[0].input_on_device = 2; }));
  // A count that no memory would hold: `released` is the first, after magic and step.
  Bytes bytes = PlanBytes(plan);
  const uint64_t huge = ~uint64_t{0} / 4;
  std::memcpy(bytes.data() + 12, &huge, sizeof(huge));
  EXPECT_EQ(DecodePlan(bytes).status().code(), StatusCode::kDataLoss);

  StepResult result;
  result.outputs.resize(1);
  result.outputs[0].num_top = 1;
  EXPECT_FALSE(DecodeAnyResult(ResultBytes(result)).ok());
}

}  // namespace
TEST(WireTest, TokensOfResultsAreOfTheVocabulary) {
  constexpr TokenId kVocab = 1000;
  StepResult result;
  result.outputs.resize(1);
  result.top.resize(1);
  for (TokenId* const token : {&result.outputs[0].token, &result.top[0].token}) {
    *token = kVocab - 1;
    EXPECT_TRUE(DecodeResult(ResultBytes(result), kVocab).ok());
    *token = kVocab;
    EXPECT_EQ(DecodeResult(ResultBytes(result), kVocab).status().code(), StatusCode::kDataLoss);
    *token = -1;  // none
    EXPECT_TRUE(DecodeResult(ResultBytes(result), kVocab).ok());
  }
}

}  // namespace inferd
