// q[k] = E4M3(x[k] * (448 / max|x|)), ties to even, row by row or group by group; and
// rows as the products with FP8 weights read them, rounded or not.
//
// Layout: cpu/linear_fp8.h; within a block of inputs that of cpu/bf16_rows.cc.
// Bound: two passes over x in cache, and the pass of the unit's packing.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "cpu/linear_fp8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/fp8_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/e4m3-inl.h"
#include "cpu/magnitude-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// to[i] = E4M3(x[i] * factor)
void RoundTarget(const float* x, int64_t n, float factor, float* to) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF f = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(RoundToE4M3(hn::Mul(hn::LoadU(d, x + i), f)), d, to + i);
  }
  if (i < n) {
    const VF rest = LoadPartial(x + i, static_cast<size_t>(n - i));
    StorePartial(RoundToE4M3(hn::Mul(rest, f)), to + i, static_cast<size_t>(n - i));
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {

HWY_EXPORT(MaxMagnitude);
HWY_EXPORT(RoundTarget);

struct Rounding {
  float factor;  // 0: all zeros
  float scale;
};
Rounding RoundingOf(const float* x, int64_t n) {
  const uint32_t bits = HWY_DYNAMIC_DISPATCH(MaxMagnitude)(x, n);
  if (bits >= 0x7f800000U) return {0.0F, std::numeric_limits<float>::quiet_NaN()};
  constexpr float kLargest = 448.0F;
  const auto max = std::bit_cast<float>(bits);
  const float factor = max > 0 ? kLargest / max : std::numeric_limits<float>::infinity();
  if (std::isinf(factor)) return {0.0F, 0.0F};
  return {factor, max / kLargest};
}

void RoundInputs(const float* x, int64_t n, const Rounding& rounding, float* to) {
  if (rounding.factor > 0) {
    HWY_DYNAMIC_DISPATCH(RoundTarget)(x, n, rounding.factor, to);
  } else {
    std::fill_n(to, n, 0.0F);
  }
}

int64_t NumBlocks(const Fp8Layout& layout) {
  return (layout.in_features + layout.block_inputs() - 1) / layout.block_inputs();
}

}  // namespace

int64_t PackedFp8RowBytes(const Fp8Layout& layout, Bf16Unit unit) {
  return NumBlocks(layout) * PackedBf16RowBytes(unit, layout.block_inputs());
}

void PackFp8Rows(const PackFp8RowsParams& p, int64_t tile_begin, int64_t tile_end) {
  constexpr int64_t kMostTileRows = 16;
  const int64_t in = p.layout.in_features;
  const int64_t group_size = p.layout.group_size;
  const int64_t block_inputs = p.layout.block_inputs();
  const int64_t row_bytes = PackedBf16RowBytes(p.unit, block_inputs);
  alignas(64) float taken[kMostTileRows * kMaxFp8BlockInputs];
  Rounding rounding[kMostTileRows] = {};
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t first = tile * p.tile_rows;
    const int64_t rows = std::min(p.tile_rows, p.rows - first);
    for (int64_t k = 0; k < in; k += block_inputs) {
      const int64_t n = std::min(block_inputs, in - k);
      for (int64_t m = 0; m < rows; ++m) {
        const float* x = p.x + (first + m) * in + k;
        if (p.round && k % group_size == 0) {
          rounding[m] = RoundingOf(x, group_size);
          p.scales[(first + m) * p.layout.groups() + k / group_size] = rounding[m].scale;
        }
        if (p.round) {
          RoundInputs(x, n, rounding[m], taken + m * n);
        } else {
          std::copy_n(x, n, taken + m * n);
        }
      }
      auto* to = static_cast<std::byte*>(p.packed) + k / block_inputs * p.rows * row_bytes +
                 first * PackedBf16RowBytes(p.unit, n);
      if (p.floats) {
        PackRows({taken, rows, n, rows, reinterpret_cast<float*>(to)}, 0, 1);
      } else {
        PackBf16Rows({p.unit, taken, rows, n, rows, to}, 0, 1);
      }
    }
  }
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
