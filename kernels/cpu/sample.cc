// max and validity, search, threshold collection, sum of exponentials of a row.
//
// Layout: one dense row of f32. Bound: bytes of the row, mostly in L2; a caller
// passes over it once to four times.
#include "cpu/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/sample.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

RowScan ScanTarget(const float* x, int64_t n) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF infinity = hn::Inf(d);
  VF max = hn::Set(d, -kInfinity);
  auto all_valid = hn::Eq(max, max);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF v = hn::LoadU(d, x + i);
    all_valid = hn::And(all_valid, hn::Lt(v, infinity));  // false for NaN and +Inf
    max = hn::Max(max, v);
  }
  if (i < n) {
    const VF v = LoadPartial(x + i, static_cast<size_t>(n - i), -kInfinity);
    all_valid = hn::And(all_valid, hn::Lt(v, infinity));
    max = hn::Max(max, v);
  }
  return {Max(max), hn::AllTrue(d, all_valid)};
}

int64_t FindTarget(const float* x, int64_t n, float value) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF wanted = hn::Set(d, value);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, x + i), wanted));
    if (found >= 0) return i + found;
  }
  for (; i < n; ++i) {
    if (x[i] == value) return i;
  }
  return n;
}

int64_t CollectTarget(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF least = hn::Set(d, threshold);
  int64_t count = 0;
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    const auto mask = hn::Ge(hn::LoadU(d, x + i), least);
    if (HWY_LIKELY(hn::AllFalse(d, mask))) continue;
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, mask, bytes);
    for (uint32_t bits = bytes[0] | (uint32_t{bytes[1]} << 8); bits != 0; bits &= bits - 1) {
      out[count++] = static_cast<int32_t>(i + static_cast<int64_t>(__builtin_ctz(bits)));
    }
  }
  for (; i < end; ++i) {
    if (x[i] >= threshold) out[count++] = static_cast<int32_t>(i);
  }
  return count;
}

void ChunkMaximaTarget(const float* x, int64_t n, int64_t chunk, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t end = std::min(first + chunk, n);
    VF max = hn::Set(d, -kInfinity);
    int64_t i = first;
    for (; i + lanes <= end; i += lanes) max = hn::Max(max, hn::LoadU(d, x + i));
    float result = Max(max);
    for (; i < end; ++i) result = std::max(result, x[i]);
    *out++ = result;
  }
}

double SumExpTarget(const float* x, int64_t n, float max, float scale) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const VF shift = hn::Set(d, max);
  const VF factor = hn::Set(d, scale);
  const auto term = [&](VF v) HWY_ATTR { return Exp(hn::Mul(hn::Sub(v, shift), factor)); };
  double total = 0;
  int64_t i = 0;
  while (i + lanes <= n) {
    // Short f32 sums, joined in double.
    const int64_t end = std::min(n - lanes, i + 63 * lanes);
    VF sum = hn::Zero(d);
    for (; i <= end; i += lanes) sum = hn::Add(sum, term(hn::LoadU(d, x + i)));
    total += static_cast<double>(Sum(sum));
  }
  if (i < n) {
    const VF rest = LoadPartial(x + i, static_cast<size_t>(n - i), -kInfinity);
    total += static_cast<double>(Sum(term(rest)));
  }
  return total;
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(ScanTarget);
HWY_EXPORT(FindTarget);
HWY_EXPORT(CollectTarget);
HWY_EXPORT(ChunkMaximaTarget);
HWY_EXPORT(SumExpTarget);
}  // namespace

RowScan ScanRow(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(ScanTarget)(x, n); }
int64_t FindFirst(const float* x, int64_t n, float value) {
  return HWY_DYNAMIC_DISPATCH(FindTarget)(x, n, value);
}
int64_t CollectAtLeast(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out) {
  return HWY_DYNAMIC_DISPATCH(CollectTarget)(x, begin, end, threshold, out);
}
void ChunkMaxima(const float* x, int64_t n, int64_t chunk, float* out) {
  HWY_DYNAMIC_DISPATCH(ChunkMaximaTarget)(x, n, chunk, out);
}
double SumExp(const float* x, int64_t n, float max, float scale) {
  return HWY_DYNAMIC_DISPATCH(SumExpTarget)(x, n, max, scale);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
