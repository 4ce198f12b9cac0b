#include "model/quantization_decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "inferd/base/random.h"

namespace inferd::model {
namespace {

// Whole tiles, parts of them, and single words.
struct Size {
  int64_t out, in;
};
constexpr Size kSizes[] = {{8, 32}, {40, 32}, {128, 128}, {136, 160}, {264, 288}, {16, 1024}};

std::vector<uint32_t> RandomWords(int64_t count) {
  std::vector<uint32_t> words(static_cast<size_t>(count));
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = static_cast<uint32_t>(PhiloxUniform(5, 0, static_cast<uint32_t>(i)) * 65536.0F)
                   << 16 |
               static_cast<uint32_t>(PhiloxUniform(5, 1, static_cast<uint32_t>(i)) * 65536.0F);
  }
  return words;
}

uint32_t Nibble(uint32_t word, int64_t k) { return (word >> (4 * k)) & 15U; }

// Where column c of eight is in an AWQ word: even columns first.
int64_t AwqPlace(int64_t c) { return c % 2 == 0 ? c / 2 : 4 + c / 2; }

uint32_t Code(const std::vector<uint8_t>& codes, int64_t in, int64_t o, int64_t i) {
  return Nibble(codes[static_cast<size_t>((o * in + i) / 2)], i % 2);
}

TEST(QuantizationDecodeTest, UnpacksAwqCodes) {
  for (const auto& [out, in] : kSizes) {
    std::vector<uint32_t> words = RandomWords(in * out / 8);
    std::vector<uint8_t> codes(static_cast<size_t>(out * in / 2), 0xee);
    UnpackAwqCodes(TensorView(words.data(), DType::kI32, {in, out / 8}), codes.data(), in / 2);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        const uint32_t word = words[static_cast<size_t>(i * (out / 8) + o / 8)];
        ASSERT_EQ(Code(codes, in, o, i), Nibble(word, AwqPlace(o % 8))) << o << " " << i;
      }
    }
  }
}

TEST(QuantizationDecodeTest, UnpacksGptqCodes) {
  for (const auto& [out, in] : kSizes) {
    std::vector<uint32_t> words = RandomWords(in * out / 8);
    std::vector<uint8_t> codes(static_cast<size_t>(out * in / 2), 0xee);
    UnpackGptqCodes(TensorView(words.data(), DType::kI32, {in / 8, out}), codes.data(), in / 2);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        const uint32_t word = words[static_cast<size_t>(i / 8 * out + o)];
        ASSERT_EQ(Code(codes, in, o, i), Nibble(word, i % 8)) << o << " " << i;
      }
    }
  }
}

TEST(QuantizationDecodeTest, UnpacksZeros) {
  constexpr int64_t kGroups = 3;
  constexpr int64_t kOut = 24;
  std::vector<uint32_t> words = RandomWords(kGroups * kOut / 8);
  const TensorView qzeros(words.data(), DType::kI32, {kGroups, kOut / 8});
  std::vector<uint8_t> plain(kGroups * kOut);
  std::vector<uint8_t> awq(kGroups * kOut);
  UnpackZeros(qzeros, NibbleOrder::kPlain, 0, 1, plain.data());
  UnpackZeros(qzeros, NibbleOrder::kPlain, 1, kOut / 8, plain.data());
  UnpackZeros(qzeros, NibbleOrder::kAwq, 0, kOut / 8, awq.data());
  for (int64_t o = 0; o < kOut; ++o) {
    for (int64_t g = 0; g < kGroups; ++g) {
      const uint32_t word = words[static_cast<size_t>(g * (kOut / 8) + o / 8)];
      const auto at = static_cast<size_t>(o * kGroups + g);
      EXPECT_EQ(plain[at], Nibble(word, o % 8));
      EXPECT_EQ(awq[at], Nibble(word, AwqPlace(o % 8)));
    }
  }
}

TEST(QuantizationDecodeTest, TransposesScales) {
  constexpr int64_t kGroups = 5;
  constexpr int64_t kOut = 24;
  std::vector<float> f32(kGroups * kOut);
  std::vector<uint16_t> f16(f32.size());
  std::vector<uint16_t> bf16(f32.size());
  for (size_t i = 0; i < f32.size(); ++i) {
    f32[i] = static_cast<float>(i) * 0.125F;  // exact in all three
    f16[i] = F32ToF16(f32[i]);
    bf16[i] = F32ToBF16(f32[i]);
  }
  const TensorView views[] = {TensorView(f32.data(), DType::kF32, {kGroups, kOut}),
                              TensorView(f16.data(), DType::kF16, {kGroups, kOut}),
                              TensorView(bf16.data(), DType::kBF16, {kGroups, kOut})};
  for (const TensorView& view : views) {
    std::vector<float> to(f32.size());
    ASSERT_TRUE(TransposeScales(view, 0, 7, to.data()));  // in two parts
    ASSERT_TRUE(TransposeScales(view, 7, kOut, to.data()));
    for (int64_t o = 0; o < kOut; ++o) {
      for (int64_t g = 0; g < kGroups; ++g) {
        EXPECT_EQ(to[static_cast<size_t>(o * kGroups + g)], f32[static_cast<size_t>(g * kOut + o)]);
      }
    }
  }
  std::vector<float> to(f32.size());
  f32.back() = INFINITY;
  EXPECT_FALSE(TransposeScales(views[0], 0, kOut, to.data()));
  f16[3] = 0x7e00;  // NaN
  EXPECT_FALSE(TransposeScales(views[1], 0, kOut, to.data()));
}

}  // namespace
}  // namespace inferd::model
