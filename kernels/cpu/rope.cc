// a' = a cos - b sin,  b' = b cos + a sin   for a = x[i], b = x[i + half]
//
// Layout: heads of a row side by side; cos, sin [half]. Bound: bytes of the row,
// in L1.
#include "cpu/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rope.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

void RotateTarget(float* row, int64_t num_heads, int64_t head_dim, int64_t half, const float* cos,
                  const float* sin) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t h = 0; h < num_heads; ++h) {
    float* low = row + h * head_dim;
    float* high = low + half;
    int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const VF a = hn::LoadU(d, low + i);
      const VF b = hn::LoadU(d, high + i);
      const VF c = hn::LoadU(d, cos + i);
      const VF s = hn::LoadU(d, sin + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, low + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, high + i);
    }
    for (; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      low[i] = a * cos[i] - b * sin[i];
      high[i] = b * cos[i] + a * sin[i];
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(RotateTarget);
}  // namespace

void RotateHeads(float* row, int64_t num_heads, int64_t head_dim, int64_t half, const float* cos,
                 const float* sin) {
  HWY_DYNAMIC_DISPATCH(RotateTarget)(row, num_heads, head_dim, half, cos, sin);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
