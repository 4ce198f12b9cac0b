#include "quantize/rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quantize/awq_pack.h"

namespace inferd::quantize {
namespace {

// Values in (-size, size), the same on every run.
Matrix Seeded(int64_t out, int64_t in, float size) {
  Matrix matrix{out, in, {}};
  uint32_t state = 12345;
  for (int64_t i = 0; i < out * in; ++i) {
    state = state * 1664525U + 1013904223U;
    matrix.values.push_back(size * (static_cast<float>(state >> 8) / 8388608.0F - 1.0F));
  }
  return matrix;
}

TEST(Int4, EveryWeightIsWithinHalfAStep) {
  const Matrix weights = Seeded(16, 128, 0.3F);
  Int4Matrix rounded;
  ASSERT_TRUE(RoundInt4(weights, 32, nullptr, 1, &rounded));
  std::vector<float> row(128);
  for (int64_t o = 0; o < weights.out; ++o) {
    Dequantize(rounded, o, row.data());
    for (int64_t i = 0; i < weights.in; ++i) {
      const float step = F16ToF32(rounded.scales[static_cast<size_t>(o * 4 + i / 32)]);
      // The zero point is rounded as well: at the ends a value may be half a step
      // beyond the last code, and the step itself half a unit of F16 too small.
      EXPECT_LE(std::abs(weights.row(o)[i] - row[static_cast<size_t>(i)]), step * 1.01F);
      const int code = rounded.codes[static_cast<size_t>(o * 128 + i)];
      if (code > 0 && code < 15) {
        EXPECT_LE(std::abs(weights.row(o)[i] - row[static_cast<size_t>(i)]), step * 0.501F);
      }
    }
  }
}

TEST(Int4, ZeroIsExactAndAGroupOfOneSignReachesToZero) {
  Matrix weights{1, 64, std::vector<float>(64, 0.0F)};
  for (int64_t i = 32; i < 64; ++i) weights.values[static_cast<size_t>(i)] = 1.0F;
  Int4Matrix rounded;
  ASSERT_TRUE(RoundInt4(weights, 32, nullptr, 1, &rounded));
  std::vector<float> row(64);
  Dequantize(rounded, 0, row.data());
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(row[i], 0.0F);
  for (size_t i = 32; i < 64; ++i) EXPECT_NEAR(row[i], 1.0F, 1e-3);
  EXPECT_EQ(rounded.zeros[1], 0);
}

TEST(Int4, ClippingNarrowsTheRange) {
  std::vector<float> weights(32, 0.1F);
  weights[0] = 1.0F;
  weights[1] = -1.0F;
  std::vector<uint8_t> codes(32);
  GroupSteps whole;
  GroupSteps half;
  ASSERT_TRUE(RoundGroup(weights.data(), 32, 1.0F, codes.data(), &whole));
  ASSERT_TRUE(RoundGroup(weights.data(), 32, 0.5F, codes.data(), &half));
  EXPECT_NEAR(F16ToF32(half.scale), F16ToF32(whole.scale) / 2, 1e-4);
  EXPECT_EQ(codes[0], 15);
  EXPECT_EQ(codes[1], 0);
}

TEST(Int4, WeightsBeyondF16AreRefused) {
  Matrix weights{1, 32, std::vector<float>(32, 0.0F)};
  weights.values[3] = 3e38F;
  weights.values[4] = -3e38F;
  Int4Matrix rounded;
  EXPECT_FALSE(RoundInt4(weights, 32, nullptr, 1, &rounded));
}

TEST(Int4, TheResultDoesNotDependOnTheThreads) {
  const Matrix weights = Seeded(33, 64, 1.0F);
  Int4Matrix one;
  Int4Matrix three;
  ASSERT_TRUE(RoundInt4(weights, 32, nullptr, 1, &one));
  ASSERT_TRUE(RoundInt4(weights, 32, nullptr, 3, &three));
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.zeros, three.zeros);
}

TEST(Int8, EveryWeightIsWithinHalfAStep) {
  Matrix weights = Seeded(8, 96, 2.0F);
  for (int64_t i = 0; i < 96; ++i) weights.row(5)[i] = 0.0F;
  const Int8Matrix rounded = RoundInt8(weights, 2);
  for (int64_t o = 0; o < weights.out; ++o) {
    const float scale = rounded.scales[static_cast<size_t>(o)];
    EXPECT_GT(scale, 0.0F);
    int most = 0;
    for (int64_t i = 0; i < weights.in; ++i) {
      const int code = rounded.codes[static_cast<size_t>(o * 96 + i)];
      most = std::max(most, std::abs(code));
      EXPECT_LE(std::abs(weights.row(o)[i] - static_cast<float>(code) * scale), scale * 0.5001F);
    }
    EXPECT_EQ(most, o == 5 ? 0 : 127);
  }
}

TEST(Fp8, EveryWeightIsWithinHalfAStep) {
  Matrix weights = Seeded(8, 96, 2.0F);
  for (int64_t i = 0; i < 96; ++i) weights.row(5)[i] = 0.0F;
  const Fp8Matrix rounded = RoundFp8(weights, 2);
  for (int64_t o = 0; o < weights.out; ++o) {
    const float scale = rounded.scales[static_cast<size_t>(o)];
    EXPECT_GT(scale, 0.0F);
    float most = 0;
    for (int64_t i = 0; i < weights.in; ++i) {
      const float value = E4M3ToF32(rounded.codes[static_cast<size_t>(o * 96 + i)]);
      most = std::max(most, std::abs(value));
      // A step is an eighth of the power of two below, or 2^-9 of the scale.
      const float step = std::max(std::abs(value) / 8, 0x1p-9F);
      EXPECT_LE(std::abs(weights.row(o)[i] - value * scale), scale * step * 0.5001F);
    }
    EXPECT_EQ(most, o == 5 ? 0 : kE4M3Max);
  }
}

// By hand, from the description of the format.
TEST(AwqPack, ColumnsAreInterleavedInAWord) {
  Int4Matrix matrix;
  matrix.out = 8;
  matrix.in = 32;
  matrix.group = 32;
  matrix.codes.assign(8 * 32, 0);
  for (size_t o = 0; o < 8; ++o) {
    matrix.codes[o * 32] = static_cast<uint8_t>(o);           // input 0
    matrix.codes[o * 32 + 1] = static_cast<uint8_t>(15 - o);  // input 1
    matrix.zeros.push_back(static_cast<uint8_t>(o + 8));
    matrix.scales.push_back(static_cast<uint16_t>(0x3c00 + o));
  }
  const AwqTensors packed = PackAwq(matrix);
  ASSERT_EQ(packed.qweight.size(), 32U);
  EXPECT_EQ(packed.qweight[0], 0x75316420U);
  EXPECT_EQ(packed.qweight[1], 0x8ace9bdfU);
  EXPECT_EQ(packed.qweight[2], 0U);
  EXPECT_EQ(packed.qzeros, std::vector<uint32_t>{0xfdb9eca8U});
  EXPECT_EQ(packed.scales, matrix.scales);
}

}  // namespace
}  // namespace inferd::quantize
