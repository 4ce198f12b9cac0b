// E4M3 in vectors of floats, once per instruction set.
#if defined(INFERD_KERNELS_E4M3_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_E4M3_INL_H_
#undef INFERD_KERNELS_E4M3_INL_H_
#else
#define INFERD_KERNELS_E4M3_INL_H_
#endif

#include "cpu/common.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// Rounds to E4M3, ties to even; |x| at most what rounds to 448.
HWY_INLINE VF RoundToE4M3(VF x) {
  const DF d;
  const DU du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(du, 1));
  const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7ffff)));
  const VF normal = hn::BitCast(d, hn::And(up, hn::Set(du, 0xfff00000u)));
  // Below 2^-6 multiples of 2^-9: adding 2^14 rounds to them.
  const VF magnitude = hn::Abs(x);
  const VF large = hn::Set(d, 0x1p14F);
  const VF small = hn::CopySign(hn::Sub(hn::Add(magnitude, large), large), x);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-6F)), small, normal);
}

// Saturates; what is not finite becomes NaN.
HWY_INLINE void StoreFloats(VF v, E4M3* to) {
  const DF d;
  const DU du;
  const auto largest = hn::Set(d, 448.0F);
  const auto finite = hn::RebindMask(du, hn::IsFinite(v));
  const VF value = RoundToE4M3(hn::Min(hn::Abs(v), largest));
  const auto sign = hn::And(hn::ShiftRight<24>(hn::BitCast(du, v)), hn::Set(du, 0x80));
  const auto normal = hn::Sub(hn::ShiftRight<20>(hn::BitCast(du, value)), hn::Set(du, 120 << 3));
  const auto small = hn::BitCast(du, hn::ConvertTo(DI(), hn::Mul(value, hn::Set(d, 512.0F))));
  const auto is_small = hn::RebindMask(du, hn::Lt(value, hn::Set(d, 0x1p-6F)));
  const auto code =
      hn::IfThenElse(finite, hn::IfThenElse(is_small, small, normal), hn::Set(du, 0x7f));
  const hn::Rebind<uint8_t, DF> d8;
  const auto bytes = hn::DemoteTo(d8, hn::BitCast(DI(), hn::Or(code, sign)));
  hn::StoreU(bytes, d8, &to->bits);
}

// Moved to where F16 has exponent and mantissa a code is F16, and 2^8 too small.
HWY_INLINE VF LoadFloats(const E4M3* from) {
  const DF d;
  const hn::Rebind<uint8_t, DF> d8;
  const hn::RebindToSigned<DH> signed_words;
  const auto high = hn::ShiftLeft<8>(hn::PromoteTo(DH(), hn::LoadU(d8, &from->bits)));
  const auto moved = hn::BitCast(DH(), hn::ShiftRight<1>(hn::BitCast(signed_words, high)));
  const auto half = hn::And(moved, hn::Set(DH(), 0xbfff));
  const hn::Rebind<hwy::float16_t, DF> d16;
  const VF value = hn::Mul(hn::PromoteTo(d, hn::BitCast(d16, half)), hn::Set(d, 256.0F));
  // The codes of NaN are those of 480.
  return hn::IfThenElse(hn::Gt(hn::Abs(value), hn::Set(d, 448.0F)), hn::NaN(d), value);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
