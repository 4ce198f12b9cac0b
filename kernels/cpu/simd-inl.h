// Vector helpers, once per instruction set: include after foreach_target.h, with
// the per-target guard below.
#if defined(INFERD_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_SIMD_INL_H_
#undef INFERD_KERNELS_SIMD_INL_H_
#else
#define INFERD_KERNELS_SIMD_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most sixteen lanes, so that a row of 16 tokens or dims is whole vectors.
using DF = HWY_CAPPED(float, 16);
using DU = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using DH = hn::Rebind<uint16_t, DF>;
using VF = hn::Vec<DF>;

// Registers for accumulators: 32 on AVX3 and better (on x86, a lesser number is a
// better target) and on NEON, else 16.
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3) || HWY_TARGET == HWY_NEON
inline constexpr bool kManyRegisters = true;
#else
inline constexpr bool kManyRegisters = false;
#endif

HWY_INLINE size_t LaneCount() { return hn::Lanes(DF()); }

// Vectors of f32 from f32 or bf16.
HWY_INLINE VF LoadFloats(const float* from) { return hn::LoadU(DF(), from); }
HWY_INLINE VF LoadFloats(const uint16_t* from) {
  const auto wide = hn::PromoteTo(DU(), hn::LoadU(DH(), from));
  return hn::BitCast(DF(), hn::ShiftLeft<16>(wide));
}

// f32 to bf16, nearest even; a NaN stays one.
HWY_INLINE void StoreFloats(VF v, float* to) { hn::StoreU(v, DF(), to); }
HWY_INLINE void StoreFloats(VF v, uint16_t* to) {
  const DU du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd));
  const auto nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  const auto half = hn::IfThenElse(is_nan, nan, rounded);
  hn::StoreU(hn::DemoteTo(DH(), hn::BitCast(DI(), half)), DH(), to);
}

// The first `count` < lanes floats; the other lanes are `fill`.
HWY_INLINE VF LoadPartial(const float* from, size_t count, float fill = 0.0F) {
  alignas(64) float lanes[16];
  for (size_t i = 0; i < LaneCount(); ++i) lanes[i] = i < count ? from[i] : fill;
  return hn::Load(DF(), lanes);
}
HWY_INLINE void StorePartial(VF v, float* to, size_t count) {
  alignas(64) float lanes[16];
  hn::Store(v, DF(), lanes);
  for (size_t i = 0; i < count; ++i) to[i] = lanes[i];
}

HWY_INLINE float Sum(VF v) { return hn::GetLane(hn::SumOfLanes(DF(), v)); }
HWY_INLINE float Max(VF v) { return hn::GetLane(hn::MaxOfLanes(DF(), v)); }

// exp(x - n ln2) for |x - n ln2| <= ln2 / 2: a polynomial of degree 6.
HWY_INLINE VF ExpOfRest(VF x, VF n) {
  const DF d;
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125F), x);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860682030941723e-6F), r);
  auto p = hn::Set(d, 1.0F / 720);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  return hn::MulAdd(p, r, hn::Set(d, 1.0F));
}

// exp(x) within 2 ulp; 0 below -87.3, +Inf above 88.7, NaN for NaN.
// x = n ln2 + r; exp(r) times 2^n.
HWY_INLINE VF Exp(VF x) {
  const DF d;
  const DI di;
  const auto low = hn::Lt(x, hn::Set(d, -87.33654F));
  const auto high = hn::Gt(x, hn::Set(d, 88.72283F));
  const auto safe = hn::IfThenElse(hn::Or(low, high), hn::Zero(d), x);
  const auto n = hn::Round(hn::Mul(safe, hn::Set(d, 1.44269504088896F)));
  const auto p = ExpOfRest(safe, n);
  // 2^n in two factors: n reaches 128, which one exponent field cannot hold.
  const auto exponent = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(exponent);
  const auto bias = hn::Set(di, 127);
  const auto a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const auto b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias)));
  auto result = hn::Mul(hn::Mul(p, a), b);
  result = hn::IfThenElse(low, hn::Zero(d), result);
  return hn::IfThenElse(high, hn::Inf(d), result);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
