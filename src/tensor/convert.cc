#include <array>
#include <bit>
#include <cmath>

#include "inferd/tensor/tensor.h"

namespace inferd {

float BF16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

uint16_t F32ToBF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  // A NaN must stay one when its low bits go.
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  const float subnormal = static_cast<float>(mantissa) * 0x1.0p-24F;
  return sign != 0 ? -subnormal : subnormal;
}

uint16_t F32ToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds to infinity
  if (magnitude < 0x38800000) {
    // Subnormal: in units of 2^-24; nearbyint rounds to even in the default mode.
    const float units = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1.0p24F);
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(units));
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

namespace {

constexpr float WidenE4M3(uint32_t bits) {
  const uint32_t exponent = (bits >> 3) & 15U;
  const uint32_t mantissa = bits & 7U;
  float magnitude = static_cast<float>(mantissa) * 0x1p-9F;
  if (exponent != 0) magnitude = std::bit_cast<float>(((exponent + 120) << 23) | (mantissa << 20));
  if ((bits & 0x7f) == 0x7f) magnitude = std::bit_cast<float>(0x7fc00000U);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

constexpr std::array<float, 256> AllOfE4M3() {
  std::array<float, 256> all{};
  for (uint32_t bits = 0; bits < all.size(); ++bits) all[bits] = WidenE4M3(bits);
  return all;
}

constexpr std::array<float, 256> kE4M3 = AllOfE4M3();

}  // namespace

float E4M3ToF32(uint8_t bits) { return kE4M3[bits]; }

uint8_t F32ToE4M3(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude >= 0x43e00000) return static_cast<uint8_t>(sign | 0x7e);  // 448
  if (magnitude < 0x3c800000) {
    // Below 2^-6: in units of 2^-9; nearbyint rounds to even in the default mode.
    const float units = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p9F);
    return static_cast<uint8_t>(sign | static_cast<uint32_t>(units));
  }
  const uint32_t rounded = magnitude + 0x7ffff + ((magnitude >> 20) & 1);
  return static_cast<uint8_t>(sign | ((rounded - (120U << 23)) >> 20));
}

}  // namespace inferd
