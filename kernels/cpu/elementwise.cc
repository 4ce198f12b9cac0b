// x += y;  out = gate / (1 + exp(-gate)) * up;  widening of 16-bit floats.
//
// Layout: dense rows of f32, gate and up side by side in a row. Bound: bytes; the
// exponential costs about 20 instructions per 16 elements.
#include "cpu/elementwise.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/elementwise.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

void AddTarget(float* x, const float* y, int64_t begin, int64_t end) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  }
  for (; i < end; ++i) x[i] += y[i];
}

HWY_INLINE VF SiluTimes(VF gate, VF up) {
  const DF d;
  const VF one = hn::Set(d, 1.0F);
  return hn::Mul(hn::Div(gate, hn::Add(one, Exp(hn::Neg(gate)))), up);
}

void SiluMulTarget(const SiluMulParams& p, int64_t row_begin, int64_t row_end) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* gate = p.gate_up + row * 2 * p.n;
    const float* up = gate + p.n;
    float* out = p.out + row * p.n;
    int64_t i = 0;
    for (; i + lanes <= p.n; i += lanes) {
      hn::StoreU(SiluTimes(hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
    }
    if (i < p.n) {
      const auto rest = static_cast<size_t>(p.n - i);
      StorePartial(SiluTimes(LoadPartial(gate + i, rest), LoadPartial(up + i, rest)), out + i,
                   rest);
    }
  }
}

void WidenTarget(Element element, const void* from, int64_t n, float* to) {
  if (element == Element::kF32) {
    std::memcpy(to, from, static_cast<size_t>(n) * 4);
    return;
  }
  // Through an aligned buffer: the bytes of a checkpoint need not be aligned.
  constexpr int64_t kChunk = 256;
  alignas(64) uint16_t bits[kChunk];
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t count = std::min(kChunk, n - first);
    std::memcpy(bits, static_cast<const std::byte*>(from) + first * 2,
                static_cast<size_t>(count) * 2);
    int64_t i = 0;
    if (element == Element::kBF16) {
      for (; i + lanes <= count; i += lanes) StoreFloats(LoadFloats(bits + i), to + first + i);
      for (; i < count; ++i) to[first + i] = std::bit_cast<float>(uint32_t{bits[i]} << 16);
    } else {
      const hn::Rebind<hwy::float16_t, DF> dh;
      const DF d;
      for (; i + lanes <= count; i += lanes) {
        const auto half = hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(bits) + i);
        hn::StoreU(hn::PromoteTo(d, half), d, to + first + i);
      }
      if (i < count) {
        std::fill(bits + count, bits + RoundUp(count, lanes), uint16_t{0});
        const auto half = hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(bits) + i);
        StorePartial(hn::PromoteTo(d, half), to + first + i, static_cast<size_t>(count - i));
      }
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(AddTarget);
HWY_EXPORT(SiluMulTarget);
HWY_EXPORT(WidenTarget);
}  // namespace

void Add(float* x, const float* y, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(AddTarget)(x, y, begin, end);
}
void SiluMul(const SiluMulParams& p, int64_t row_begin, int64_t row_end) {
  HWY_DYNAMIC_DISPATCH(SiluMulTarget)(p, row_begin, row_end);
}
void Widen(Element element, const void* from, int64_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(WidenTarget)(element, from, n, to);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
