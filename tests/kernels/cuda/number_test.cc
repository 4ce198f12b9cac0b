#include "cuda/number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "inferd/tensor/tensor.h"

namespace inferd::cuda {
namespace {

// By search: the nearest of all values, ties to the even pattern.
template <class T>
int Nearest(float x, int positive_values) {
  int best = 0;
  double distance = INFINITY;
  for (int bits = 0; bits < positive_values; ++bits) {
    const double d = std::fabs(double{ToFloat(T{static_cast<decltype(T::bits)>(bits)})} - x);
    if (d < distance || (d == distance && bits % 2 == 0)) {
      distance = d;
      best = bits;
    }
  }
  return best;
}

TEST(Number, E4m3DecodesByItsDefinition) {
  for (int bits = 0; bits < 0x7F; ++bits) {
    const int exponent = bits >> 3;
    const int mantissa = bits & 7;
    const double value =
        exponent == 0 ? mantissa * std::exp2(-9) : (1 + mantissa / 8.0) * std::exp2(exponent - 7);
    EXPECT_EQ(ToFloat(E4m3{static_cast<uint8_t>(bits)}), value);
    EXPECT_EQ(ToFloat(E4m3{static_cast<uint8_t>(bits | 0x80)}), -value);
    EXPECT_EQ(FromFloat<E4m3>(static_cast<float>(value)).bits, bits);
  }
  EXPECT_TRUE(std::isnan(ToFloat(E4m3{0x7F})));
  EXPECT_TRUE(std::isnan(ToFloat(E4m3{0xFF})));
}

TEST(Number, E4m3RoundsToNearestEvenAndSaturates) {
  for (int bits = 0; bits < 0x7E; ++bits) {
    const float a = ToFloat(E4m3{static_cast<uint8_t>(bits)});
    const float b = ToFloat(E4m3{static_cast<uint8_t>(bits + 1)});
    for (const float x : {a, (a + b) / 2, std::nextafter((a + b) / 2, 0.0F),
                          std::nextafter((a + b) / 2, 1e9F), a + (b - a) * 0.3F}) {
      ASSERT_EQ(FromFloat<E4m3>(x).bits, Nearest<E4m3>(x, 0x7F)) << x;
      ASSERT_EQ(FromFloat<E4m3>(-x).bits, 0x80 | Nearest<E4m3>(x, 0x7F)) << x;
    }
  }
  EXPECT_EQ(ToFloat(FromFloat<E4m3>(1e30F)), kE4m3Max);
  EXPECT_EQ(ToFloat(FromFloat<E4m3>(-INFINITY)), -kE4m3Max);
  EXPECT_EQ(ToFloat(FromFloat<E4m3>(463.9F)), kE4m3Max);
  EXPECT_TRUE(std::isnan(ToFloat(FromFloat<E4m3>(NAN))));
}

TEST(Number, HalvesRoundTripAndAgreeWithTheTensorRoom) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (std::isnan(value)) {
      EXPECT_GT(bits & 0x7FFF, 0x7C00);
      continue;
    }
    ASSERT_EQ(value, F16ToF32(half.bits));
    ASSERT_EQ(FromFloat<Half>(value).bits, bits);
  }
  for (int bits = 0; bits < 0x7C00; ++bits) {
    const float a = ToFloat(Half{static_cast<uint16_t>(bits)});
    const float b = bits == 0x7BFF ? 65536.0F : ToFloat(Half{static_cast<uint16_t>(bits + 1)});
    const float middle = (a + b) / 2;
    ASSERT_EQ(FromFloat<Half>(middle).bits, bits + bits % 2);
    ASSERT_EQ(FromFloat<Half>(std::nextafter(middle, 0.0F)).bits, bits);
    ASSERT_EQ(FromFloat<Half>(-std::nextafter(middle, 1e9F)).bits, 0x8000 | (bits + 1));
  }
}

TEST(Number, Bf16AgreesWithTheTensorRoom) {
  uint32_t pattern = 1;
  for (int i = 0; i < 100000; ++i) {
    pattern = pattern * 1664525U + 1013904223U;
    const float value = FloatFromBits(pattern);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(ToFloat(FromFloat<Bf16>(value))));
      continue;
    }
    ASSERT_EQ(FromFloat<Bf16>(value).bits, F32ToBF16(value)) << pattern;
  }
}

}  // namespace
}  // namespace inferd::cuda
