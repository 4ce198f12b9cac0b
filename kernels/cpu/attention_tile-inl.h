// The two inner products of attention over a chunk of keys.
//
// Rows (query heads) share each key and value read. Vectors are the outer loop: as
// an array of their own, GCC keeps them in memory. Every score is one chain of
// multiply-adds over d, every output value one chain over the keys in order, so
// that a row's bits do not depend on which rows share its tile.
#if defined(INFERD_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_ATTENTION_TILE_INL_H_
#undef INFERD_KERNELS_ATTENTION_TILE_INL_H_
#else
#define INFERD_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <cstddef>
#include <type_traits>

#include "cpu/e4m3-inl.h"
#include "cpu/kv_cache.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

// A split is what a softmax is computed over; a chunk is what stays in L1 while
// all rows pass over it.
inline constexpr int64_t kSplitSlots = 512;
inline constexpr int64_t kChunkSlots = 64;
inline constexpr int64_t kMaxChunkVectors = kMaxBlockSize / 4;  // lanes are 4 at least
// From row to row of queries and scores: not a power of two, so that the rows of
// a tile do not fall into the same set of the L1 cache.
inline constexpr int64_t kQueryStride = kMaxHeadDim + 16;
inline constexpr int64_t kScoreStride = kSplitSlots + 16;

// Rows x vectors per pass fill half of the registers.
inline constexpr int kTileRows = kManyRegisters ? 8 : 4;
constexpr int TileVectors(int rows) { return rows == kTileRows ? 2 : 4; }

HWY_INLINE VF LoadElements(const float* from) { return LoadFloats(from); }
HWY_INLINE VF LoadElements(const uint16_t* from) { return LoadFloats(from); }
HWY_INLINE VF LoadElements(const E4M3* from) { return LoadFloats(from); }
HWY_INLINE VF LoadElements(const int8_t* from) {
  const hn::Rebind<int8_t, DF> d8;
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d8, from)));
}

// Whether tokens have scales.
template <class T>
inline constexpr bool kScaled = std::is_same_v<T, int8_t>;

// Where the vectors of a chunk start in the cache, and those to be fetched.
template <class T>
struct KeyChunk {
  const T* keys[kMaxChunkVectors];
  const T* ahead[kMaxChunkVectors];
  const float* scales[kMaxChunkVectors];  // int8_t only
};

// scores[r][c] = scale * sum_d q[r][d] * keys[c][d * stride], c < kCount vectors.
template <int kRows, int kCount, class T>
HWY_INLINE void ScoreTile(const float* q, const KeyChunk<T>& chunk, int64_t vector, int64_t stride,
                          int64_t head_dim, float scale, float* scores) {
  const DF d;
  const T* keys[kCount];
  const T* ahead[kCount];
  VF acc[kRows][kCount];
  HWY_UNROLL(4)
  for (int c = 0; c < kCount; ++c) {
    keys[c] = chunk.keys[vector + c];
    ahead[c] = chunk.ahead[vector + c];
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) acc[r][c] = hn::Zero(d);
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) {
      const VF k = LoadElements(keys[c] + i * stride);
      hwy::Prefetch(ahead[c] + i * stride);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        acc[r][c] = hn::MulAdd(hn::Set(d, q[r * kQueryStride + i]), k, acc[r][c]);
      }
    }
  }
  HWY_UNROLL(4)
  for (int c = 0; c < kCount; ++c) {
    VF factor = hn::Set(d, scale);
    if constexpr (kScaled<T>) factor = hn::Mul(factor, hn::LoadU(d, chunk.scales[vector + c]));
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      hn::Store(hn::Mul(acc[r][c], factor), d,
                scores + r * kScoreStride + c * static_cast<int64_t>(LaneCount()));
    }
  }
}

// The values of some consecutive blocks, `last` tokens of the last one.
template <class T>
struct ValueChunk {
  const T* const* values;  // [blocks]
  const T* const* ahead;   // [blocks], to be fetched
  int64_t blocks;
  int64_t last;
};

// out[r][v] += sum_t weights[r][t] * values[t][v], v < kCount vectors, over the
// tokens of the chunk.
template <int kRows, int kCount, class T>
HWY_INLINE void MixTile(const float* weights, const KvLayout& kv, const ValueChunk<T>& chunk,
                        int64_t offset, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  const int64_t stride = kv.value_stride;
  VF acc[kRows][kCount];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) acc[r][c] = hn::LoadU(d, out + r * stride + c * lanes);
  }
  for (int64_t b = 0; b < chunk.blocks; ++b) {
    const int64_t count = b + 1 < chunk.blocks ? kv.block_size : chunk.last;
    const T* values = chunk.values[b] + offset;
    const T* ahead = chunk.ahead[b] + offset;
    const float* weight = weights + b * kv.token_stride;
    for (int64_t t = 0; t < count; ++t) {
      HWY_UNROLL(4)
      for (int c = 0; c < kCount; ++c) {
        const VF v = LoadElements(values + t * stride + c * lanes);
        hwy::Prefetch(ahead + t * stride + c * lanes);
        HWY_UNROLL(8)
        for (int r = 0; r < kRows; ++r) {
          acc[r][c] = hn::MulAdd(hn::Set(d, weight[r * kScoreStride + t]), v, acc[r][c]);
        }
      }
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int c = 0; c < kCount; ++c) hn::StoreU(acc[r][c], d, out + r * stride + c * lanes);
  }
}

// Calls body.template Run<kRows, kCount>(row, vector) until `rows` x `vectors` is
// covered.
template <int kRows, class Body>
HWY_INLINE void CoverVectors(int64_t row, int64_t vectors, const Body& body) {
  constexpr int kCount = TileVectors(kRows);
  int64_t v = 0;
  for (; v + kCount <= vectors; v += kCount) body.template Run<kRows, kCount>(row, v);
  if constexpr (kCount > 2) {
    if (v + 2 <= vectors) {
      body.template Run<kRows, 2>(row, v);
      v += 2;
    }
  }
  if (v < vectors) body.template Run<kRows, 1>(row, v);
}

template <class Body>
HWY_INLINE void CoverTile(int64_t rows, int64_t vectors, const Body& body) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) CoverVectors<kTileRows>(r, vectors, body);
  if constexpr (kTileRows > 4) {
    if (r + 4 <= rows) {
      CoverVectors<4>(r, vectors, body);
      r += 4;
    }
  }
  if (r + 2 <= rows) {
    CoverVectors<2>(r, vectors, body);
    r += 2;
  }
  if (r < rows) CoverVectors<1>(r, vectors, body);
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
