// The tile of a product with integer weights: kRows rows by kPanels panels.
//
//   8 bits: c[m][n] = (sum_k w[n][k] q[m][k]) * scale[n] * scale[m]
//   4 bits: c[m][n] = c[m][n] + (sum_k in g ...) * scale[n][g] * scale[m][g], g ascending
//
// Sums of products are exact integers, and the f32 steps are the same for every
// tile and instruction set: so are the bits.
#if defined(INFERD_KERNELS_LINEAR_INT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_LINEAR_INT_TILE_INL_H_
#undef INFERD_KERNELS_LINEAR_INT_TILE_INL_H_
#else
#define INFERD_KERNELS_LINEAR_INT_TILE_INL_H_
#endif

#include <cstring>

#include "cpu/dot_unit-inl.h"
#include "cpu/linear_int.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

inline constexpr int kFloatLanes = static_cast<int>(hn::MaxLanes(DF()));
inline constexpr int kVectorBytes = 4 * kFloatLanes;
inline constexpr int kVectorsPerPanel = static_cast<int>(kIntPanelWidth) / kFloatLanes;
inline constexpr int kQuadBytes = 4 * static_cast<int>(kIntPanelWidth);  // of a panel

template <class Unit>
constexpr int IntTilePanels(int rows) {
  return (Unit::Vectors(rows) + kVectorsPerPanel - 1) / kVectorsPerPanel;
}

struct IntTileArgs {
  const uint8_t* weights;  // first panel
  int64_t panel_stride;    // bytes to the tile's next panel
  // Weights to be asked for meanwhile: so many bytes from here, and as many from
  // each stride further, for every line of weights that is used.
  const uint8_t* prefetch;
  int64_t prefetch_step;
  bool prefetch_heads;     // 4 bits: and the heads of groups on the way
  const int8_t* q;         // [quads][kRows][4]
  const RowScale* scales;  // [groups][kRows]
  int64_t quads;
  int64_t groups;
  bool half_scales;
  bool zero_per_group;
  const float* bias;  // of the first panel; added last; may be null
  float* c;
  int64_t ldc;
  int64_t column_stride;  // from panel to panel, in bias and c
};

HWY_INLINE VI LoadBytes(const uint8_t* from) { return hn::BitCast(DI(), hn::LoadU(DB(), from)); }

HWY_INLINE VI BroadcastQuad(const int8_t* q) {
  int32_t quad = 0;
  std::memcpy(&quad, q, sizeof(quad));
  return hn::Set(DI(), quad);
}

HWY_INLINE VF LoadScales(const uint8_t* from, bool half, int vector) {
  if (half) {
    const hn::Rebind<hwy::float16_t, DF> dh;
    return hn::PromoteTo(
        DF(), hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(from) + vector * kFloatLanes));
  }
  return hn::BitCast(DF(), hn::LoadU(DB(), from + vector * kVectorBytes));
}

// Vector v of a tile: its panel, and its place in the panel.
constexpr int PanelOf(int v) { return v / kVectorsPerPanel; }
constexpr int PlaceOf(int v) { return v % kVectorsPerPanel; }

// acc[m][v] += the quad at `q` times the quads that load(v) gives. With one or two
// rows it is they that stay in registers, else the weights.
template <class Unit, int kRows, int kVectors, class Load>
HWY_INLINE void DotQuad(VI (&acc)[kRows][kVectors], const int8_t* q, const Load& load) {
  if constexpr (kRows <= 2) {
    typename Unit::Row row[kRows];
    HWY_UNROLL(2)
    for (int m = 0; m < kRows; ++m) row[m] = Unit::FromRow(BroadcastQuad(q + 4 * m));
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const typename Unit::Weights w = Unit::FromWeights(load(v));
      HWY_UNROLL(2)
      for (int m = 0; m < kRows; ++m) acc[m][v] = Unit::Dot(acc[m][v], w, row[m]);
    }
  } else {
    typename Unit::Weights w[kVectors];
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) w[v] = Unit::FromWeights(load(v));
    HWY_UNROLL(16)
    for (int m = 0; m < kRows; ++m) {
      const typename Unit::Row row = Unit::FromRow(BroadcastQuad(q + 4 * m));
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) acc[m][v] = Unit::Dot(acc[m][v], w[v], row);
    }
  }
}

template <int kPanels>
HWY_INLINE void PrefetchPanels(const uint8_t* from, int64_t panel_stride) {
  HWY_UNROLL(4)
  for (int p = 0; p < kPanels; ++p) hwy::Prefetch(from + p * panel_stride);
}

template <int kRows, int kVectors>
HWY_INLINE void StoreTile(const IntTileArgs& t, const VF (&sums)[kRows][kVectors]) {
  HWY_UNROLL(16)
  for (int m = 0; m < kRows; ++m) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = PanelOf(v) * t.column_stride + PlaceOf(v) * kFloatLanes;
      VF sum = sums[m][v];
      if (t.bias != nullptr) sum = hn::Add(sum, hn::LoadU(DF(), t.bias + column));
      hn::StoreU(sum, DF(), t.c + m * t.ldc + column);
    }
  }
}

template <class Unit, int kRows, int kPanels>
HWY_NOINLINE void TileInt8(const IntTileArgs& t) {
  constexpr int kVectors = kPanels * kVectorsPerPanel;
  VI acc[kRows][kVectors];
  HWY_UNROLL(16)
  for (int m = 0; m < kRows; ++m) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) acc[m][v] = hn::Set(DI(), t.scales[m].correction);
  }
  const uint8_t* weights = t.weights;
  const uint8_t* prefetch = t.prefetch;
  const int8_t* q = t.q;
  for (int64_t k = 0; k < t.quads; ++k) {
    PrefetchPanels<kPanels>(prefetch, t.panel_stride);
    DotQuad<Unit, kRows, kVectors>(acc, q, [&](int v) HWY_ATTR {
      return LoadBytes(weights + PanelOf(v) * t.panel_stride + PlaceOf(v) * kVectorBytes);
    });
    weights += kQuadBytes;
    prefetch += t.prefetch_step;
    q += 4 * kRows;
  }
  VF sums[kRows][kVectors];
  HWY_UNROLL(16)
  for (int v = 0; v < kVectors; ++v) {
    const VF scale = LoadScales(weights + PanelOf(v) * t.panel_stride, /*half=*/false, PlaceOf(v));
    HWY_UNROLL(16)
    for (int m = 0; m < kRows; ++m) {
      const VF sum = hn::Mul(hn::ConvertTo(DF(), acc[m][v]), scale);
      sums[m][v] = hn::Mul(sum, hn::Set(DF(), t.scales[m].scale));
    }
  }
  StoreTile<kRows, kVectors>(t, sums);
}

// Where a tile stands in its 4-bit weights.
struct HalfByteCursor {
  const uint8_t* weights;
  const uint8_t* prefetch;
  const int8_t* q;
};

// The products of one group of 4-bit weights, 8 inputs at a time: the low halves
// of the bytes, then the high ones.
template <class Unit, int kRows, int kVectors>
HWY_INLINE void DotGroup(VI (&acc)[kRows][kVectors], const IntTileArgs& t, HalfByteCursor& at,
                         int64_t eights) {
  constexpr int kPanels = kVectors / kVectorsPerPanel;
  const auto low = hn::Set(DI(), 0x0f0f0f0f);
  const auto load = [&](int v) HWY_ATTR {
    return LoadBytes(at.weights + PanelOf(v) * t.panel_stride + PlaceOf(v) * kVectorBytes);
  };
  const auto advance = [&]() HWY_ATTR {
    at.weights += kQuadBytes;
    at.prefetch += t.prefetch_step;
    at.q += 8 * kRows;
  };
  if constexpr (!Unit::kNarrows) {
    for (int64_t i = 0; i < eights; ++i) {
      PrefetchPanels<kPanels>(at.prefetch, t.panel_stride);
      VI both[kVectors];
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) both[v] = load(v);
      DotQuad<Unit, kRows, kVectors>(acc, at.q,
                                     [&](int v) HWY_ATTR { return hn::And(both[v], low); });
      DotQuad<Unit, kRows, kVectors>(acc, at.q + 4 * kRows, [&](int v) HWY_ATTR {
        return hn::And(hn::ShiftRight<4>(both[v]), low);
      });
      advance();
    }
  } else {
    constexpr int kEights = kNarrowQuads / 2;
    for (int64_t i = 0; i < eights; i += kEights) {
      typename Unit::Narrow sums[kRows][kVectors];
      HWY_UNROLL(16)
      for (int m = 0; m < kRows; ++m) {
        HWY_UNROLL(16)
        for (int v = 0; v < kVectors; ++v) sums[m][v] = hn::Zero(DW());
      }
      for (int j = 0; j < kEights; ++j) {
        PrefetchPanels<kPanels>(at.prefetch, t.panel_stride);
        HWY_UNROLL(16)
        for (int v = 0; v < kVectors; ++v) {
          const VI both = load(v);
          const auto first = Unit::NarrowFromWeights(hn::And(both, low));
          const auto second = Unit::NarrowFromWeights(hn::And(hn::ShiftRight<4>(both), low));
          HWY_UNROLL(16)
          for (int m = 0; m < kRows; ++m) {
            const int8_t* q = at.q + 4 * m;
            sums[m][v] = Unit::NarrowDot(sums[m][v], first, Unit::NarrowFromRow(BroadcastQuad(q)));
            sums[m][v] = Unit::NarrowDot(sums[m][v], second,
                                         Unit::NarrowFromRow(BroadcastQuad(q + 4 * kRows)));
          }
        }
        advance();
      }
      HWY_UNROLL(16)
      for (int m = 0; m < kRows; ++m) {
        HWY_UNROLL(16)
        for (int v = 0; v < kVectors; ++v) acc[m][v] = Unit::AddNarrow(acc[m][v], sums[m][v]);
      }
    }
  }
}

template <class Unit, int kRows, int kPanels>
HWY_NOINLINE void TileInt4(const IntTileArgs& t) {
  constexpr int kVectors = kPanels * kVectorsPerPanel;
  VF sums[kRows][kVectors];
  HWY_UNROLL(16)
  for (int m = 0; m < kRows; ++m) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) sums[m][v] = hn::Zero(DF());
  }
  const int64_t scale_bytes = kIntPanelWidth * (t.half_scales ? 2 : 4);
  const int64_t head_bytes = scale_bytes + (t.zero_per_group ? kIntPanelWidth : 0);
  const int64_t eights = t.quads / t.groups / 2;  // of a group
  HalfByteCursor at{t.weights, t.prefetch, t.q};
  const RowScale* scales = t.scales;
  for (int64_t g = 0; g < t.groups; ++g) {
    const uint8_t* head = at.weights;
    VI acc[kRows][kVectors];
    HWY_UNROLL(16)
    for (int m = 0; m < kRows; ++m) {
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) acc[m][v] = hn::Set(DI(), scales[m].correction);
    }
    if (t.zero_per_group) {
      const hn::Rebind<uint8_t, DI> dz;
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) {
        const VI zero =
            hn::PromoteTo(DI(), hn::LoadU(dz, head + PanelOf(v) * t.panel_stride + scale_bytes +
                                                  PlaceOf(v) * kFloatLanes));
        HWY_UNROLL(16)
        for (int m = 0; m < kRows; ++m) acc[m][v] = hn::Mul(acc[m][v], zero);
      }
    }
    at.weights += head_bytes;
    if (t.prefetch_heads) {
      PrefetchPanels<kPanels>(at.prefetch, t.panel_stride);
      at.prefetch += head_bytes;
    }
    DotGroup<Unit, kRows, kVectors>(acc, t, at, eights);
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const VF scale = LoadScales(head + PanelOf(v) * t.panel_stride, t.half_scales, PlaceOf(v));
      HWY_UNROLL(16)
      for (int m = 0; m < kRows; ++m) {
        const VF sum = hn::Mul(hn::ConvertTo(DF(), acc[m][v]), scale);
        sums[m][v] = hn::MulAdd(sum, hn::Set(DF(), scales[m].scale), sums[m][v]);
      }
    }
    scales += kRows;
  }
  StoreTile<kRows, kVectors>(t, sums);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
