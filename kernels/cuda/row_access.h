// Rows of a type known at run time, read and written several columns at once. The
// type is the same for all threads, so the branches on it do not diverge.
#pragma once

#include "cuda/number.h"
#include "cuda/rows.h"
#include "cuda/simt.h"
#include "cuda/vec.h"

namespace inferd::cuda {

template <int kSize>
SIMT_DEVICE void LoadColumns(const Rows& rows, int64_t row, int64_t column, float (&to)[kSize]) {
  const int64_t i = row * rows.stride + column;
  switch (rows.type) {
    case Element::kF32:
      LoadFloats<kSize>(static_cast<const float*>(rows.data) + i, to);
      return;
    case Element::kBf16:
      LoadFloats<kSize>(static_cast<const Bf16*>(rows.data) + i, to);
      return;
    case Element::kF16:
      break;
  }
  LoadFloats<kSize>(static_cast<const Half*>(rows.data) + i, to);
}

template <int kSize>
SIMT_DEVICE void StoreColumns(const Rows& rows, int64_t row, int64_t column,
                              const float (&from)[kSize]) {
  const int64_t i = row * rows.stride + column;
  switch (rows.type) {
    case Element::kF32:
      StoreFloats<kSize>(static_cast<float*>(rows.data) + i, from);
      break;
    case Element::kBf16:
      StoreFloats<kSize>(static_cast<Bf16*>(rows.data) + i, from);
      break;
    case Element::kF16:
      StoreFloats<kSize>(static_cast<Half*>(rows.data) + i, from);
      break;
  }
}

// ---- rounding to 8 bits ----

inline constexpr float kLargestFloat = 3.4028235e38F;

SIMT_HOST_DEVICE bool IsFinite(float x) { return fabsf(x) <= kLargestFloat; }

// The larger magnitude, where what is not finite is larger than all: infinity.
SIMT_HOST_DEVICE float Magnitude(float x) {
  return IsFinite(x) ? fabsf(x) : FloatFromBits(0x7F800000U);
}

struct Rounding {
  float factor;  // 0: all zeros
  float scale;   // NaN when something was not finite
};
SIMT_HOST_DEVICE Rounding RoundingOf(float largest) {
  if (!IsFinite(largest)) return {0.0F, FloatFromBits(0x7FC00000U)};
  const float factor = 127.0F / largest;
  // Also when the reciprocal is infinite for a number too small to have one.
  if (!IsFinite(factor)) return {0.0F, 0.0F};
  return {factor, largest / 127.0F};
}
// Ties to even.
SIMT_HOST_DEVICE int8_t RoundToInt8(float x, const Rounding& rounding) {
  return rounding.factor == 0.0F ? int8_t{0} : static_cast<int8_t>(rintf(x * rounding.factor));
}

template <int kSize>
SIMT_DEVICE void StoreRounded(int8_t* to, const float (&from)[kSize], const Rounding& rounding) {
  Vec<int8_t, kSize> vec;
  SIMT_UNROLL
  for (int i = 0; i < kSize; ++i) vec.v[i] = RoundToInt8(from[i], rounding);
  StoreVec<int8_t, kSize>(to, vec);
}

// ---- on the host ----

// Whether rows may be read and written four columns at once.
inline bool TakesFours(const Rows& rows, int64_t columns) {
  const uintptr_t size = rows.type == Element::kF32 ? 4 : 2;
  return columns % 4 == 0 && rows.stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(rows.data) % (4 * size) == 0;
}
inline bool TakesFours(const RoundedRows& rows, int64_t columns) {
  return columns % 4 == 0 && rows.padded % 4 == 0 &&
         reinterpret_cast<uintptr_t>(rows.values) % 4 == 0;
}

}  // namespace inferd::cuda
