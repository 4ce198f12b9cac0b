// The largest magnitude of a row, once per instruction set.
#if defined(INFERD_KERNELS_MAGNITUDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_MAGNITUDE_INL_H_
#undef INFERD_KERNELS_MAGNITUDE_INL_H_
#else
#define INFERD_KERNELS_MAGNITUDE_INL_H_
#endif

#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// The bits of max|x|: as integers they are in the order of the magnitudes, with
// infinity and the NaNs above everything finite.
inline uint32_t MaxMagnitude(const float* x, int64_t n) {
  const DF d;
  const DU du;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const auto magnitude = hn::Set(du, 0x7fffffffu);
  auto max = hn::Zero(du);
  auto other = max;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    max = hn::Max(max, hn::And(hn::BitCast(du, hn::LoadU(d, x + i)), magnitude));
    other = hn::Max(other, hn::And(hn::BitCast(du, hn::LoadU(d, x + i + lanes)), magnitude));
  }
  max = hn::Max(max, other);
  for (; i + lanes <= n; i += lanes) {
    max = hn::Max(max, hn::And(hn::BitCast(du, hn::LoadU(d, x + i)), magnitude));
  }
  if (i < n) {
    const VF rest = LoadPartial(x + i, static_cast<size_t>(n - i));
    max = hn::Max(max, hn::And(hn::BitCast(du, rest), magnitude));
  }
  return hn::GetLane(hn::MaxOfLanes(du, max));
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
