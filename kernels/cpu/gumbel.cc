// scores = (x - max) * scale - log(-log(u)),  u = (word >> 9 + 1/2) / 2^23
//
// Layout: 16 Philox blocks of four words side by side, words of a block being
// neighbouring draws. Bound: ten rounds of two 32-bit products per four draws and
// two logarithms per draw, about 2 ns each draw.
#include "cpu/gumbel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gumbel.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr int kBlocks = kGumbelChunk / 4;

// The words of blocks [first_block, first_block + kBlocks), plain loops over
// blocks that the compiler turns into vectors.
HWY_INLINE void PhiloxBlocks(uint64_t seed, uint64_t position, uint32_t first_block,
                             uint32_t words[4][kBlocks]) {
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int b = 0; b < kBlocks; ++b) {
    words[0][b] = static_cast<uint32_t>(position);
    words[1][b] = static_cast<uint32_t>(position >> 32);
    words[2][b] = first_block + static_cast<uint32_t>(b);
    words[3][b] = 0;
  }
  for (int round = 0; round < 10; ++round) {
    for (int b = 0; b < kBlocks; ++b) {
      const uint64_t product0 = uint64_t{0xD2511F53} * words[0][b];
      const uint64_t product1 = uint64_t{0xCD9E8D57} * words[2][b];
      words[0][b] = static_cast<uint32_t>(product1 >> 32) ^ words[1][b] ^ key0;
      words[1][b] = static_cast<uint32_t>(product1);
      words[2][b] = static_cast<uint32_t>(product0 >> 32) ^ words[3][b] ^ key1;
      words[3][b] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

float ScoresTarget(const float* x, float max, float scale, uint64_t seed, uint64_t position,
                   uint32_t first, float* scores) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  alignas(64) uint32_t words[4][kBlocks];
  PhiloxBlocks(seed, position, first / 4, words);
  alignas(64) float uniform[kGumbelChunk];
  for (int b = 0; b < kBlocks; ++b) {
    for (int w = 0; w < 4; ++w) {
      const auto bits = static_cast<int32_t>(words[w][b] >> 9);
      uniform[b * 4 + w] = (static_cast<float>(bits) + 0.5F) * 0x1.0p-23F;
    }
  }
  VF best = hn::Neg(hn::Inf(d));
  for (int64_t i = 0; i < kGumbelChunk; i += lanes) {
    const VF exponential = hn::Neg(hn::Log(d, hn::Load(d, uniform + i)));
    const VF tempered = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max)), hn::Set(d, scale));
    const VF score = hn::Sub(tempered, hn::Log(d, exponential));
    hn::StoreU(score, d, scores + i);
    best = hn::Max(best, score);
  }
  return Max(best);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(ScoresTarget);
}  // namespace

float GumbelScores(const float* x, float max, float scale, uint64_t seed, uint64_t position,
                   uint32_t first, float* scores) {
  return HWY_DYNAMIC_DISPATCH(ScoresTarget)(x, max, scale, seed, position, first, scores);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
