// How u8 weights meet s8 rows, once per instruction set. A unit says how it wants
// weights and rows in registers and adds four products to each i32 lane.
//
//   acc[lane] += sum_{i<4} w[lane][i] q[i]     i32, exact modulo 2^32
//
// For weights of 4 bits a unit may gather kNarrowQuads such sums in a narrower
// form (Narrow) before adding them to i32.
#if defined(INFERD_KERNELS_DOT_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_DOT_UNIT_INL_H_
#undef INFERD_KERNELS_DOT_UNIT_INL_H_
#else
#define INFERD_KERNELS_DOT_UNIT_INL_H_
#endif

#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

using VI = hn::Vec<DI>;
using DB = hn::Repartition<uint8_t, DI>;
using DW = hn::Repartition<int16_t, DI>;
using VW = hn::Vec<DW>;

// 8 quads of 4-bit weights: 32 inputs, the least group.
inline constexpr int kNarrowQuads = 8;

// The sum of the two i16 in each i32.
HWY_INLINE VI AddPairs(VI acc, VW v) {
#if HWY_TARGET == HWY_NEON
  return VI(vpadalq_s16(acc.raw, v.raw));
#else
  const auto whole = hn::BitCast(DI(), v);
  const auto low = hn::ShiftRight<16>(hn::ShiftLeft<16>(whole));
  return hn::Add(acc, hn::Add(low, hn::ShiftRight<16>(whole)));
#endif
}

// acc + a[0] b[0] + a[1] b[1] of the pairs of i16; each product fits 16 bits.
HWY_INLINE VI AddPairProducts(VI acc, VW a, VW b) {
#if HWY_TARGET == HWY_AVX2
  return hn::Add(acc, VI{_mm256_madd_epi16(a.raw, b.raw)});
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return hn::Add(acc, VI{_mm512_madd_epi16(a.raw, b.raw)});
#else
  return AddPairs(acc, hn::Mul(a, b));
#endif
}

// By way of 16 bits: bytes 0 and 2 of a quad in one vector, 1 and 3 in another.
struct WidenUnit {
  static constexpr bool kWide = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3;
  static constexpr int kMaxRows = kWide ? 8 : 4;
  // Vectors of weights a tile spans, rounded up to whole panels.
  static constexpr int Vectors(int rows) {
    if (kManyRegisters) return rows <= 4 ? 4 : 2;
    return rows == 1 ? 8 : rows == 2 ? 4 : 2;
  }

  struct Pairs {
    // Written out: an implicit constructor would not be compiled for the target.
    HWY_INLINE Pairs() {}
    HWY_INLINE Pairs(VW even_in, VW odd_in) : even(even_in), odd(odd_in) {}
    VW even;
    VW odd;
  };
  using Weights = Pairs;
  using Row = Pairs;
  static HWY_INLINE Weights FromWeights(VI w) {
    const auto pairs = hn::BitCast(hn::RebindToUnsigned<DW>(), w);
    const auto even = hn::And(pairs, hn::Set(hn::RebindToUnsigned<DW>(), 0x00ff));
    return {hn::BitCast(DW(), even), hn::BitCast(DW(), hn::ShiftRight<8>(pairs))};
  }
  static HWY_INLINE Row FromRow(VI q) {
    const auto pairs = hn::BitCast(DW(), q);
    return {hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs)), hn::ShiftRight<8>(pairs)};
  }
  // Keeps the compiler from multiplying the same weights once for many uses.
  static HWY_INLINE void Hide(Weights& w) {
#if HWY_ARCH_X86
    asm volatile("" : "+v"(w.even.raw), "+v"(w.odd.raw));
#elif HWY_TARGET == HWY_NEON
    asm volatile("" : "+w"(w.even.raw), "+w"(w.odd.raw));
#endif
  }
  static HWY_INLINE VI Dot(VI acc, const Weights& w, const Row& q) {
    return AddPairProducts(AddPairProducts(acc, w.even, q.even), w.odd, q.odd);
  }

  // A product of 4 by 8 bits is at most 15 * 127; sixteen of them fit 16 bits.
  static constexpr bool kNarrows = true;
  using Narrow = VW;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  using NarrowWeights = VI;
  using NarrowRow = VI;
  static HWY_INLINE NarrowWeights NarrowFromWeights(VI w) { return w; }
  static HWY_INLINE NarrowRow NarrowFromRow(VI q) { return q; }
  static HWY_INLINE Narrow NarrowDot(Narrow sum, VI w, VI q) {
#if HWY_TARGET == HWY_AVX2
    return hn::Add(sum, VW{_mm256_maddubs_epi16(w.raw, q.raw)});
#else
    return hn::Add(sum, VW{_mm512_maddubs_epi16(w.raw, q.raw)});
#endif
  }
  static HWY_INLINE VI AddNarrow(VI acc, Narrow sum) {
    return AddPairProducts(acc, sum, hn::Set(DW(), 1));
  }
#else
  using NarrowWeights = Pairs;
  using NarrowRow = Pairs;
  static HWY_INLINE NarrowWeights NarrowFromWeights(VI w) { return FromWeights(w); }
  static HWY_INLINE NarrowRow NarrowFromRow(VI q) { return FromRow(q); }
  static HWY_INLINE Narrow NarrowDot(Narrow sum, const Pairs& w, const Pairs& q) {
    return hn::Add(hn::Add(sum, hn::Mul(w.even, q.even)), hn::Mul(w.odd, q.odd));
  }
  static HWY_INLINE VI AddNarrow(VI acc, Narrow sum) { return AddPairs(acc, sum); }
#endif
};

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
// AVX-512 VNNI, an extension that Highway's AVX3 leaves out: its one instruction is
// written in assembly, which needs no compiler flag, and reached only where
// BestDotUnit found it.
struct VnniUnit {
  static constexpr int kMaxRows = 12;
  static constexpr int Vectors(int rows) { return rows <= 5 ? 4 : 2; }

  using Weights = VI;
  using Row = VI;
  static HWY_INLINE Weights FromWeights(VI w) { return w; }
  static HWY_INLINE Row FromRow(VI q) { return q; }
  static HWY_INLINE void Hide(Weights& /*w*/) {}  // Dot is opaque as it is
  static HWY_INLINE VI Dot(VI acc, VI w, VI q) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(w.raw), "v"(q.raw));
    return acc;
  }
  static constexpr bool kNarrows = false;
};
#endif

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
