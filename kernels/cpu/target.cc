// The chosen instruction set and the two ceilings figures are held against.
//
// BurnMultiplyAdds: independent chains of fused multiply-adds, no memory.
// ReadStreams: plain loads in four streams, prefetched, summed.
#include "cpu/common.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/target.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

const char* NameTarget() { return hwy::TargetName(HWY_TARGET); }

double BurnTarget(int64_t iterations, float* sink) {
  constexpr int kChains = 12;
  const DF d;
  VF acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = hn::Set(d, static_cast<float>(c));
  const VF a = hn::Set(d, 0.999F);
  const VF b = hn::Set(d, 0.001F);
  for (int64_t i = 0; i < iterations; ++i) {
    HWY_UNROLL(12)
    for (int c = 0; c < kChains; ++c) acc[c] = hn::MulAdd(acc[c], a, b);
  }
  VF sum = acc[0];
  for (int c = 1; c < kChains; ++c) sum = hn::Add(sum, acc[c]);
  *sink = Sum(sum);
  return 2.0 * kChains * static_cast<double>(LaneCount()) * static_cast<double>(iterations);
}

float ReadTarget(const float* x, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(LaneCount());
  const int64_t quarter = n / 4;
  VF acc[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t i = 0; i < quarter; i += lanes) {
    HWY_UNROLL(4)
    for (int s = 0; s < 4; ++s) {
      hwy::Prefetch(x + s * quarter + i + 256);
      acc[s] = hn::Add(acc[s], hn::LoadU(d, x + s * quarter + i));
    }
  }
  return Sum(hn::Add(hn::Add(acc[0], acc[1]), hn::Add(acc[2], acc[3])));
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(NameTarget);
HWY_EXPORT(BurnTarget);
HWY_EXPORT(ReadTarget);
}  // namespace

const char* TargetName() { return HWY_DYNAMIC_DISPATCH(NameTarget)(); }
double BurnMultiplyAdds(int64_t iterations, float* sink) {
  return HWY_DYNAMIC_DISPATCH(BurnTarget)(iterations, sink);
}
float ReadStreams(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(ReadTarget)(x, n); }

}  // namespace inferd::kernels
#endif  // HWY_ONCE
