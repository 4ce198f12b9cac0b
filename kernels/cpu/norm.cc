// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], after x += add where given.
//
// Layout: rows of f32. One row per task; the sum of squares runs in four vectors
// of lanes joined in a fixed order. Bound: bytes of the row, which is in L1 or L2.
#include "cpu/norm.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

HWY_INLINE VF Square(VF sum, VF x) { return hn::MulAdd(x, x, sum); }

// Sum of squares of the row, `add` already in it.
template <bool kAdd>
HWY_INLINE float SumOfSquares(float* x, const float* add, int64_t n) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const auto load = [&](int64_t i) HWY_ATTR {
    VF v = hn::LoadU(d, x + i);
    if constexpr (kAdd) {
      v = hn::Add(v, hn::LoadU(d, add + i));
      hn::StoreU(v, d, x + i);
    }
    return v;
  };
  VF s0 = hn::Zero(d);
  VF s1 = s0;
  VF s2 = s0;
  VF s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = Square(s0, load(i));
    s1 = Square(s1, load(i + lanes));
    s2 = Square(s2, load(i + 2 * lanes));
    s3 = Square(s3, load(i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = Square(s0, load(i));
  if (i < n) {
    if constexpr (kAdd) {
      for (int64_t j = i; j < n; ++j) x[j] += add[j];
    }
    s1 = Square(s1, LoadPartial(x + i, static_cast<size_t>(n - i)));
  }
  return Sum(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

void RmsNormTarget(const RmsNormParams& p, int64_t row_begin, int64_t row_end) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t row = row_begin; row < row_end; ++row) {
    float* x = p.x + row * p.x_stride;
    float* out = p.out + row * p.out_stride;
    const float sum = p.add != nullptr ? SumOfSquares<true>(x, p.add + row * p.x_stride, p.n)
                                       : SumOfSquares<false>(x, nullptr, p.n);
    const float scale = 1.0F / std::sqrt(sum / static_cast<float>(p.n) + p.eps);
    const VF factor = hn::Set(d, scale);
    int64_t i = 0;
    for (; i + lanes <= p.n; i += lanes) {
      const VF v = hn::Mul(hn::LoadU(d, x + i), factor);
      hn::StoreU(hn::Mul(v, hn::LoadU(d, p.weight + i)), d, out + i);
    }
    for (; i < p.n; ++i) out[i] = x[i] * scale * p.weight[i];
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(RmsNormTarget);
}  // namespace

void RmsNorm(const RmsNormParams& p, int64_t row_begin, int64_t row_end) {
  HWY_DYNAMIC_DISPATCH(RmsNormTarget)(p, row_begin, row_end);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
