// The tile of a matrix product: kRows rows of x by kPanels panels of weights.
//
//   c[m][n] = c[m][n] + sum_k x[m][k] w[n][k], k ascending
//
// Per output one chain of fused multiply-adds in the order of k, or of sums of two
// products in the order of the pairs, whatever the tile: the bits of a row do not
// depend on how many rows come with it.
#if defined(INFERD_KERNELS_LINEAR_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_LINEAR_TILE_INL_H_
#undef INFERD_KERNELS_LINEAR_TILE_INL_H_
#else
#define INFERD_KERNELS_LINEAR_TILE_INL_H_
#endif

#include "cpu/common.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

inline constexpr int kMaxTileRows = kManyRegisters ? 12 : 6;
inline constexpr int kPanelVectors = 2;
HWY_INLINE int64_t PanelWidth() { return kPanelVectors * static_cast<int64_t>(LaneCount()); }

// Panels a tile spans, so that there are about eight chains to hide the latency
// of the multiply-add, and as many streams to read weights from.
constexpr int TilePanels(int rows) {
  if (rows == 1) return 4;
  if (kManyRegisters) return rows <= 3 ? 4 : rows <= 6 ? 2 : 1;
  return rows <= 3 ? 2 : 1;
}

// What is multiplied: f32 by f32, f16 or bf16; bf16 by bf16 in pairs.
enum class TileForm : uint8_t { kF32, kF16, kBF16, kPairs };
inline constexpr int kTileForms = 4;

constexpr TileForm FormOf(Element element) {
  return element == Element::kF32   ? TileForm::kF32
         : element == Element::kF16 ? TileForm::kF16
                                    : TileForm::kBF16;
}

struct TileArgs {
  const void* a;         // f32 [k][kRows]; bf16 [ceil(k / 2)][kRows][2]
  const void* b;         // first panel, at the first k
  int64_t panel_stride;  // bytes
  int64_t k;             // even for bf16, unless it ends the row
  bool accumulate;       // start from c, else from 0
  const float* bias;     // of the first panel; added last; may be null
  float* c;
  int64_t ldc;
};

// Far enough ahead for DRAM, near enough to stay in L1.
inline constexpr int64_t kPrefetchBytes = 1024;

template <int kRows, int kPanels>
struct TileState {
  static constexpr int kVectors = kPanels * kPanelVectors;
  VF acc[kRows][kVectors];
  // Written out: an implicit constructor would not be compiled for the target.
  HWY_INLINE TileState() {}
  HWY_INLINE void MultiplyAdd(const float* a, const VF* b) {
    HWY_UNROLL(16)
    for (int m = 0; m < kRows; ++m) {
      const VF x = hn::Set(DF(), a[m]);
      HWY_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) acc[m][v] = hn::MulAdd(x, b[v], acc[m][v]);
    }
  }
};

HWY_INLINE VF LoadWeights(const float* from) { return hn::Load(DF(), from); }
HWY_INLINE VF LoadWeights(const hwy::float16_t* from) {
  return hn::PromoteTo(DF(), hn::Load(hn::Rebind<hwy::float16_t, DF>(), from));
}

// T: float or hwy::float16_t.
template <class T, int kRows, int kPanels>
HWY_INLINE void AccumulateSingle(const TileArgs& t, TileState<kRows, kPanels>& state) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  const size_t lanes = LaneCount();
  const auto* a = static_cast<const float*>(t.a);
  const auto* b = static_cast<const T*>(t.b);
  const int64_t stride = t.panel_stride / kSize;
  for (int64_t k = 0; k < t.k; ++k) {
    VF w[kPanels * kPanelVectors];
    HWY_UNROLL(4)
    for (int p = 0; p < kPanels; ++p) {
      hwy::Prefetch(b + p * stride + kPrefetchBytes / kSize);
      if (kSize == 4) hwy::Prefetch(b + p * stride + kPrefetchBytes / kSize + lanes);
      w[2 * p] = LoadWeights(b + p * stride);
      w[2 * p + 1] = LoadWeights(b + p * stride + lanes);
    }
    state.MultiplyAdd(a, w);
    a += kRows;
    b += kPanelVectors * lanes;
  }
}

template <int kRows, int kPanels>
HWY_INLINE void AccumulateBF16(const TileArgs& t, TileState<kRows, kPanels>& state) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const size_t lanes = LaneCount();
  const DF df;
  const DU du;
  const auto* a = static_cast<const float*>(t.a);
  const auto* b = static_cast<const uint32_t*>(t.b);
  const int64_t stride = t.panel_stride / static_cast<int64_t>(sizeof(uint32_t));
  for (int64_t k = 0; k < t.k; k += 2) {
    VF even[kVectors];
    VF odd[kVectors];
    HWY_UNROLL(4)
    for (int p = 0; p < kPanels; ++p) {
      HWY_UNROLL(2)
      for (int v = 0; v < kPanelVectors; ++v) {
        const uint32_t* from = b + p * stride + v * lanes;
        hwy::Prefetch(from + kPrefetchBytes / 4);
        const auto pair = hn::Load(du, from);
        even[p * kPanelVectors + v] = hn::BitCast(df, hn::ShiftLeft<16>(pair));
        odd[p * kPanelVectors + v] = hn::BitCast(df, hn::And(pair, hn::Set(du, 0xffff0000u)));
      }
    }
    state.MultiplyAdd(a, even);
    // An odd count ends the row: the second of the pair is padding.
    if (HWY_LIKELY(k + 1 < t.k)) state.MultiplyAdd(a + kRows, odd);
    a += 2 * kRows;
    b += kPanelVectors * lanes;
  }
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
using VU = hn::Vec<DU>;

// acc + x[0] w[0] + x[1] w[1] of each lane's pair. AVX512_BF16 is an extension that
// Highway's AVX3 leaves out: its one instruction is written in assembly, which needs
// no compiler flag, and reached only where Bf16UnitRuns said so.
HWY_INLINE VF DotPairs(VF acc, VU x, VU w) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(w.raw), "v"(x.raw));
  return acc;
}

template <int kRows, int kPanels>
HWY_INLINE void AccumulatePairs(const TileArgs& t, TileState<kRows, kPanels>& state) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const size_t lanes = LaneCount();
  const DU du;
  const auto* a = static_cast<const uint32_t*>(t.a);
  const auto* b = static_cast<const uint32_t*>(t.b);
  const int64_t stride = t.panel_stride / static_cast<int64_t>(sizeof(uint32_t));
  for (int64_t k = 0; k < t.k; k += 2) {
    VU w[kVectors];
    HWY_UNROLL(4)
    for (int p = 0; p < kPanels; ++p) {
      HWY_UNROLL(2)
      for (int v = 0; v < kPanelVectors; ++v) {
        const uint32_t* from = b + p * stride + v * lanes;
        hwy::Prefetch(from + kPrefetchBytes / 4);
        w[p * kPanelVectors + v] = hn::Load(du, from);
      }
    }
    HWY_UNROLL(16)
    for (int m = 0; m < kRows; ++m) {
      const VU x = hn::Set(du, a[m]);
      HWY_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) {
        state.acc[m][v] = DotPairs(state.acc[m][v], x, w[v]);
      }
    }
    a += kRows;
    b += kPanelVectors * lanes;
  }
}
#else
// No processor of this instruction set multiplies pairs; see Bf16UnitRuns.
template <int kRows, int kPanels>
HWY_INLINE void AccumulatePairs(const TileArgs&, TileState<kRows, kPanels>&) {
  HWY_ABORT("no pair products");
}
#endif

template <int kRows, int kPanels, TileForm kForm>
HWY_NOINLINE void Tile(const TileArgs& t) {
  const DF d;
  const size_t lanes = LaneCount();
  TileState<kRows, kPanels> state;
  constexpr int kVectors = kPanels * kPanelVectors;
  HWY_UNROLL(16)
  for (int m = 0; m < kRows; ++m) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      state.acc[m][v] = t.accumulate ? hn::LoadU(d, t.c + m * t.ldc + v * lanes) : hn::Zero(d);
    }
  }
  if constexpr (kForm == TileForm::kPairs) {
    AccumulatePairs<kRows, kPanels>(t, state);
  } else if constexpr (kForm == TileForm::kBF16) {
    AccumulateBF16<kRows, kPanels>(t, state);
  } else if constexpr (kForm == TileForm::kF16) {
    AccumulateSingle<hwy::float16_t, kRows, kPanels>(t, state);
  } else {
    AccumulateSingle<float, kRows, kPanels>(t, state);
  }
  HWY_UNROLL(16)
  for (int m = 0; m < kRows; ++m) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      VF sum = state.acc[m][v];
      if (t.bias != nullptr) sum = hn::Add(sum, hn::LoadU(d, t.bias + v * lanes));
      hn::StoreU(sum, d, t.c + m * t.ldc + v * lanes);
    }
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
