// What the decode and the prefill kernel of attention share: how shared memory is laid
// out, how tiles of keys and values come into it, queries, and the joining of splits.
// A block has 128 threads.
#pragma once

#include "cuda/async_copy.h"
#include "cuda/attention.h"
#include "cuda/mma.h"
#include "cuda/row_access.h"
#include "cuda/simt.h"

namespace inferd::cuda {

inline constexpr int kAttentionThreads = 128;
inline constexpr int kAttentionWarps = kAttentionThreads / 32;
inline constexpr int kTileKeys = 64;
inline constexpr int kSplitTiles = kSplitKeys / kTileKeys;
inline constexpr int kMaxTensorHeadDim = 128;
inline constexpr int kDecodeStages = 2;
// Rows of shared memory are 16 bytes longer than their numbers, so that eight of them
// lie in different banks.
inline constexpr int32_t kRowPad = 16;
inline constexpr int32_t kWeightRowBytes = kTileKeys * 2 + kRowPad;

// Byte offsets in dynamic shared memory.
struct AttentionLayout {
  int32_t stages;           // 2: the next tile comes while one is worked on; or 1
  int32_t row_bytes;        // of a bf16 row
  int32_t stage_row_bytes;  // of a row as it is in the cache
  int32_t stage_bytes;      // keys, values, their scales; the stages come first
  int32_t converted;        // 8-bit caches: one tile in bf16
  int32_t queries;          // [terms][tile rows]
  int32_t rest;             // the kernel's own
  int32_t lanes_per_row;    // that copy a row, a power of two
};
SIMT_HOST_DEVICE AttentionLayout LayoutOf(const AttentionParams& p, int32_t tile_rows,
                                          int32_t stages) {
  const bool convert = p.kv.type != KvType::kBf16;
  AttentionLayout l;
  l.stages = stages;
  l.row_bytes = p.kv.head_dim * 2 + kRowPad;
  l.stage_row_bytes = convert ? p.kv.head_dim : l.row_bytes;
  l.stage_bytes = 2 * kTileKeys * (l.stage_row_bytes + (convert ? 4 : 0));
  l.converted = stages * l.stage_bytes;
  l.queries = l.converted + (convert ? 2 * kTileKeys * l.row_bytes : 0);
  l.rest = l.queries + p.terms * tile_rows * l.row_bytes;
  const int32_t chunks = p.kv.head_dim * KvSize(p.kv.type) / 16;
  l.lanes_per_row = 1;
  while (l.lanes_per_row < chunks) l.lanes_per_row *= 2;
  return l;
}

// Shared memory of a block of the decode kernel.
int32_t DecodeSharedBytes(const AttentionParams& params);

// How many blocks of so many bytes a multiprocessor has the shared memory for.
inline int32_t BlocksThatFit(const AttentionParams& p, int32_t shared_bytes) {
  constexpr int32_t kOfTheSystem = 1024;  // a block's, beside what it asks for
  return (p.max_shared_bytes + kOfTheSystem) / (shared_bytes + kOfTheSystem);
}

// Begins the copying of keys [first, first + 64) and their values to a stage; what is
// at `end` or later becomes zeros.
SIMT_DEVICE void CopyTile(const AttentionParams& p, const AttentionLayout& l, unsigned char* stage,
                          int32_t sequence, int32_t head, int32_t first, int32_t end) {
  const auto thread = static_cast<int32_t>(ThreadX());
  const int32_t* const table = p.block_tables + int64_t{sequence} * p.table_stride;
  const int32_t chunks = p.kv.head_dim * KvSize(p.kv.type) / 16;
  const int32_t chunk = thread % l.lanes_per_row;
  unsigned char* const values = stage + kTileKeys * l.stage_row_bytes;
  auto* const scales = reinterpret_cast<float*>(stage + 2 * kTileKeys * l.stage_row_bytes);
  for (int32_t row = thread / l.lanes_per_row; row < kTileKeys;
       row += kAttentionThreads / l.lanes_per_row) {
    const int32_t key = first + row;
    const bool valid = key < end;
    const int32_t block = valid ? table[key / p.kv.block_size] : 0;
    const int32_t token = valid ? key % p.kv.block_size : 0;
    const int64_t k = KvIndex(p.kv, false, head, token);
    const int64_t v = KvIndex(p.kv, true, head, token);
    if (chunk < chunks) {
      const int32_t to = row * l.stage_row_bytes + 16 * chunk;
      CopyAsync16(stage + to, KvNumbers(p.kv, block, k) + 16 * chunk, valid);
      CopyAsync16(values + to, KvNumbers(p.kv, block, v) + 16 * chunk, valid);
    }
    if (p.kv.type == KvType::kInt8 && chunk == 0) {
      CopyAsync4(scales + row, KvScale(p.kv, block, k), valid);
      CopyAsync4(scales + kTileKeys + row, KvScale(p.kv, block, v), valid);
    }
  }
  CommitCopies();
}

// A tile in bf16 as the kernels read it; scales are those of the 8-bit integers.
struct Tile {
  const unsigned char* keys;
  const unsigned char* values;
  const float* key_scales;
  const float* value_scales;
};

// 8-bit numbers, which bf16 holds exactly, to bf16. Barriers before and after.
SIMT_DEVICE void ConvertTile(const AttentionParams& p, const AttentionLayout& l,
                             const unsigned char* stage, unsigned char* to) {
  const int32_t chunks = p.kv.head_dim / 16;
  const auto thread = static_cast<int32_t>(ThreadX());
  const int32_t chunk = thread % l.lanes_per_row;
  if (chunk >= chunks) return;
  // Values follow the keys in both.
  for (int32_t row = thread / l.lanes_per_row; row < 2 * kTileKeys;
       row += kAttentionThreads / l.lanes_per_row) {
    const auto in = LoadVec<uint8_t, 16>(stage + row * l.stage_row_bytes + 16 * chunk);
    Vec<uint32_t, 4> out[2];
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) {
      float pair[2];
      SIMT_UNROLL
      for (int j = 0; j < 2; ++j) {
        const uint8_t bits = in.v[2 * i + j];
        pair[j] = p.kv.type == KvType::kInt8 ? static_cast<float>(static_cast<int8_t>(bits))
                                             : ToFloat(E4m3{bits});
      }
      out[i / 4].v[i % 4] = Pack2<Bf16>(pair[0], pair[1]);
    }
    auto* const words = reinterpret_cast<uint32_t*>(to + row * l.row_bytes + 32 * chunk);
    StoreVec<uint32_t, 4>(words, out[0]);
    StoreVec<uint32_t, 4>(words + 4, out[1]);
  }
}

// Waits for the older of the stages, or the only one, and makes it a tile that all threads see.
SIMT_DEVICE Tile TakeTile(const AttentionParams& p, const AttentionLayout& l, unsigned char* shared,
                          unsigned char* stage) {
  if (l.stages == 2) {
    WaitCopies<1>();
  } else {
    WaitCopies<0>();
  }
  SyncThreads();
  Tile tile;
  tile.keys = stage;
  tile.values = stage + kTileKeys * l.stage_row_bytes;
  tile.key_scales = reinterpret_cast<const float*>(stage + 2 * kTileKeys * l.stage_row_bytes);
  tile.value_scales = tile.key_scales + kTileKeys;
  if (p.kv.type != KvType::kBf16) {
    ConvertTile(p, l, stage, shared + l.converted);
    SyncThreads();
    tile.keys = shared + l.converted;
    tile.values = tile.keys + kTileKeys * l.row_bytes;
  }
  return tile;
}

// The bf16 terms of x: their sum is x rounded, or x but for its last bits.
template <int kTerms>
SIMT_DEVICE void SplitTerms(float x, float (&terms)[kTerms]) {
  SIMT_UNROLL
  for (int t = 0; t < kTerms; ++t) {
    terms[t] = ToFloat(FromFloat<Bf16>(x));
    // What is not finite stays so through its first term alone.
    x = IsFinite(terms[t]) ? x - terms[t] : 0.0F;
  }
}

// Rows [first, first + tile_rows) of the sequence's rows of a kv head, to shared
// memory; zeros past `num_rows`.
template <int kTerms>
SIMT_DEVICE void LoadQueries(const AttentionParams& p, const AttentionLayout& l,
                             unsigned char* shared, int32_t token, int32_t kv_head, int32_t first,
                             int32_t num_rows, int32_t tile_rows) {
  const int32_t group = p.num_q_heads / p.kv.num_kv_heads;
  const int32_t pairs = p.kv.head_dim / 2;
  for (int32_t row = static_cast<int32_t>(Warp()); row < tile_rows; row += kAttentionWarps) {
    const int32_t flat = first + row;
    const int64_t qkv_row = token + flat / group;
    const int64_t start = int64_t{kv_head * group + flat % group} * p.kv.head_dim;
    for (int32_t pair = static_cast<int32_t>(Lane()); pair < pairs; pair += 32) {
      float x[2] = {0, 0};
      if (flat < num_rows) LoadColumns<2>(p.qkv, qkv_row, start + 2 * pair, x);
      float low[kTerms];
      float high[kTerms];
      SplitTerms<kTerms>(x[0], low);
      SplitTerms<kTerms>(x[1], high);
      SIMT_UNROLL
      for (int t = 0; t < kTerms; ++t) {
        auto* const to =
            reinterpret_cast<uint32_t*>(shared + l.queries + (t * tile_rows + row) * l.row_bytes);
        to[pair] = Pack2<Bf16>(low[t], high[t]);
      }
    }
  }
}

// Scores of two neighbouring groups of eight keys, from `key` of the tile on, for the
// 16 rows whose queries lie at `queries`, terms `term_bytes` apart.
template <int kTerms>
SIMT_DEVICE void Scores(const AttentionParams& p, const AttentionLayout& l,
                        const unsigned char* queries, int32_t term_bytes, const unsigned char* keys,
                        int32_t key, float (&scores)[2][4]) {
  const auto lane = static_cast<int32_t>(Lane());
  const unsigned char* const q = queries + lane % 16 * l.row_bytes + lane / 16 * 16;
  const unsigned char* const k =
      keys + (key + lane / 16 * 8 + lane % 8) * l.row_bytes + lane / 8 % 2 * 16;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) scores[0][i] = scores[1][i] = 0;
  for (int32_t d = 0; d < p.kv.head_dim; d += 16) {
    uint32_t b[4];
    LoadMatrices4(b, k + 2 * d);
    const uint32_t b0[2] = {b[0], b[1]};
    const uint32_t b1[2] = {b[2], b[3]};
    SIMT_UNROLL
    for (int t = 0; t < kTerms; ++t) {
      uint32_t a[4];
      LoadMatrices4(a, q + t * term_bytes + 2 * d);
      Mma16<Bf16>(scores[0], a, b0);
      Mma16<Bf16>(scores[1], a, b1);
    }
  }
}

// ---- softmax in base 2 ----

SIMT_DEVICE float MinusInfinity() { return -FloatFromBits(0x7F800000U); }

// The exponent's zero: rows that saw no key yet have none.
SIMT_DEVICE float Reference(float max) { return max == MinusInfinity() ? 0.0F : max; }

// A running softmax of `sum` and values relative to `max`, to which a split is joined:
// new = old * keep + split * take. Every kernel joins with exactly these operations.
struct Join {
  float keep;
  float take;
  bool nothing;  // the split weighs nothing: the old stays as it is
};
SIMT_DEVICE Join JoinSplit(float& max, float split_max, float split_sum) {
  // A maximum passes over NaN: where all scores are NaN, the sum alone says so.
  if (split_max == MinusInfinity() && split_sum == 0) return {1.0F, 0.0F, true};
  const float next = fmaxf(max, split_max);
  const Join join = {FastExp2(Reference(max) == max ? max - next : MinusInfinity()),
                     FastExp2(split_max - next), false};
  max = next;
  return join;
}
SIMT_DEVICE float Joined(const Join& join, float old, float split) {
  return join.nothing ? old : fmaf(split, join.take, old * join.keep);
}

}  // namespace inferd::cuda
