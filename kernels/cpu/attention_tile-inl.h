// The two inner products of attention over one tile of keys.
//
// Rows (query heads) share each key and value read. Every score is one chain of
// multiply-adds over d, every output value one chain over the keys in order, so
// that a row's bits do not depend on which rows share its tile.
#if defined(INFERD_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_ATTENTION_TILE_INL_H_
#undef INFERD_KERNELS_ATTENTION_TILE_INL_H_
#else
#define INFERD_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// Vectors of keys, or of values, per pass; with kTileRows rows they fill half of
// the registers.
inline constexpr int kTileVectors = 4;
inline constexpr int kTileRows = kManyRegisters ? 4 : 2;

// scores[r][c] = scale * sum_d q[r][d] * keys[c][d * stride], c < kCount vectors.
template <int kRows, int kCount, class T>
HWY_INLINE void ScoreTile(const float* const* q, const T* const* keys, int64_t stride,
                          int64_t head_dim, float scale, float* const* scores) {
  const DF d;
  VF acc[kRows][kCount];
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) acc[r][c] = hn::Zero(d);
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    VF k[kCount];
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) k[c] = LoadFloats(keys[c] + i * stride);
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      const VF x = hn::Set(d, q[r][i]);
      HWY_UNROLL(4)
      for (int c = 0; c < kCount; ++c) acc[r][c] = hn::MulAdd(x, k[c], acc[r][c]);
    }
  }
  const VF factor = hn::Set(d, scale);
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) {
      hn::StoreU(hn::Mul(acc[r][c], factor), d, scores[r] + c * LaneCount());
    }
  }
}

// out[r][v] += sum_t weights[r][t] * values[t * stride + v], v < kCount vectors,
// over the `count` tokens of one block.
template <int kRows, int kCount, class T>
HWY_INLINE void MixTile(const float* const* weights, const T* values, int64_t stride, int64_t count,
                        float* const* out) {
  const DF d;
  const size_t lanes = LaneCount();
  VF acc[kRows][kCount];
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) acc[r][c] = hn::Load(d, out[r] + c * lanes);
  }
  for (int64_t t = 0; t < count; ++t) {
    VF v[kCount];
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) v[c] = LoadFloats(values + t * stride + c * lanes);
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      const VF w = hn::Set(d, weights[r][t]);
      HWY_UNROLL(4)
      for (int c = 0; c < kCount; ++c) acc[r][c] = hn::MulAdd(w, v[c], acc[r][c]);
    }
  }
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) hn::Store(acc[r][c], d, out[r] + c * lanes);
  }
}

// Calls body.template operator()<kRows, kCount>(row, vector) until `rows` x
// `vectors` is covered.
template <int kRows, class Body>
HWY_INLINE void CoverVectors(int64_t row, int64_t vectors, const Body& body) {
  int64_t v = 0;
  for (; v + kTileVectors <= vectors; v += kTileVectors) {
    body.template Run<kRows, kTileVectors>(row, v);
  }
  if (v + 2 <= vectors) {
    body.template Run<kRows, 2>(row, v);
    v += 2;
  }
  if (v < vectors) body.template Run<kRows, 1>(row, v);
}

template <class Body>
HWY_INLINE void CoverTile(int64_t rows, int64_t vectors, const Body& body) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) CoverVectors<kTileRows>(r, vectors, body);
  if constexpr (kTileRows > 2) {
    if (r + 2 <= rows) {
      CoverVectors<2>(r, vectors, body);
      r += 2;
    }
  }
  if (r < rows) CoverVectors<1>(r, vectors, body);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
