// The 16- and 8-bit number formats, the same on the host, in emulation and on the
// device. Rounding is to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/simt.h"

namespace inferd::cuda {

struct Bf16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};
// FP8 with four exponent bits: largest 448, no infinity, 0x7F and 0xFF are NaN.
struct E4m3 {
  uint8_t bits;
};
inline constexpr float kE4m3Max = 448.0F;

SIMT_HOST_DEVICE float FloatFromBits(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
#endif
}
SIMT_HOST_DEVICE uint32_t BitsOfFloat(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
#endif
}

// ---- to float: exact ----

SIMT_HOST_DEVICE float ToFloat(float value) { return value; }
SIMT_HOST_DEVICE float ToFloat(Bf16 value) { return FloatFromBits(uint32_t{value.bits} << 16); }
SIMT_HOST_DEVICE float ToFloat(Half value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  const uint32_t sign = uint32_t{value.bits & 0x8000U} << 16;
  const uint32_t rest = value.bits & 0x7FFFU;
  if (rest >= 0x7C00U) return FloatFromBits(sign | 0x7F800000U | (rest & 0x3FFU) << 13);
  // Shifted into place the exponent is 112 too small; right for subnormals too.
  return FloatFromBits(sign | BitsOfFloat(FloatFromBits(rest << 13) * 0x1p112F));
#endif
}
SIMT_HOST_DEVICE float ToFloat(E4m3 value) {
  const uint32_t sign = uint32_t{value.bits & 0x80U} << 24;
  const uint32_t rest = value.bits & 0x7FU;
  if (rest == 0x7FU) return FloatFromBits(sign | 0x7FC00000U);
  return FloatFromBits(sign | BitsOfFloat(FloatFromBits(rest << 20) * 0x1p120F));
}

// ---- from float ----

template <class T>
SIMT_HOST_DEVICE T FromFloat(float value);

template <>
SIMT_HOST_DEVICE float FromFloat<float>(float value) {
  return value;
}
template <>
SIMT_HOST_DEVICE Bf16 FromFloat<Bf16>(float value) {
#ifdef __CUDA_ARCH__
  Bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = BitsOfFloat(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16)};
#endif
}
template <>
SIMT_HOST_DEVICE Half FromFloat<Half>(float value) {
#ifdef __CUDA_ARCH__
  Half result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = BitsOfFloat(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000U);
  const uint32_t rest = bits & 0x7FFFFFFFU;
  if (rest > 0x7F800000U) return {0x7FFF};
  if (rest >= 0x477FF000U) return {static_cast<uint16_t>(sign | 0x7C00U)};  // 65520 and more
  if (rest < 0x38800000U) {
    // Subnormal: adding 0.5 leaves the result, rounded, in the low bits.
    const uint32_t shifted = BitsOfFloat(FloatFromBits(rest) + 0.5F) - 0x3F000000U;
    return {static_cast<uint16_t>(sign | shifted)};
  }
  const uint32_t rounded = rest - (112U << 23) + 0xFFFU + (rest >> 13 & 1U);
  return {static_cast<uint16_t>(sign | rounded >> 13)};
#endif
}
// Saturates: what is larger than kE4m3Max becomes that. NaN stays NaN.
template <>
SIMT_HOST_DEVICE E4m3 FromFloat<E4m3>(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0F), "f"(value));
  return {static_cast<uint8_t>(pair)};
#else
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t sign = bits >> 24 & 0x80U;
  const uint32_t rest = bits & 0x7FFFFFFFU;
  if (rest > 0x7F800000U) return {0x7F};
  if (rest >= 0x43E00000U) return {static_cast<uint8_t>(sign | 0x7EU)};  // 448
  if (rest < 0x3C800000U) {
    // Below 2^-6: multiples of 2^-9. Adding 2^14 rounds to them.
    const uint32_t steps = BitsOfFloat(FloatFromBits(rest) + 0x1p14F) - 0x46800000U;
    return {static_cast<uint8_t>(sign | steps)};
  }
  const uint32_t rounded = (rest - (120U << 23) + 0x7FFFFU + (rest >> 20 & 1U)) >> 20;
  return {static_cast<uint8_t>(sign | rounded)};
#endif
}

// Two numbers in one word, `low` in the low half, as mma.sync takes them.
template <class T>
SIMT_HOST_DEVICE uint32_t Pack2(float low, float high);
template <>
SIMT_HOST_DEVICE uint32_t Pack2<Bf16>(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#else
  return FromFloat<Bf16>(low).bits | uint32_t{FromFloat<Bf16>(high).bits} << 16;
#endif
}
template <>
SIMT_HOST_DEVICE uint32_t Pack2<Half>(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#else
  return FromFloat<Half>(low).bits | uint32_t{FromFloat<Half>(high).bits} << 16;
#endif
}

}  // namespace inferd::cuda
