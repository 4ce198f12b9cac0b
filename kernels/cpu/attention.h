// The paged KV cache's layout and attention over it.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// A block of `block_size` tokens holds, per kv head, the keys transposed and the
// values plain, both padded to whole vectors:
//   K [head_dim][token_stride]   V [block_size][value_stride]
struct KvLayout {
  Element element;  // kF32 or kBF16
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  int64_t token_stride;  // block_size rounded up to 16
  int64_t value_stride;  // head_dim rounded up to 16
  int64_t head_elements;
  int64_t block_bytes;  // a multiple of 64
};
inline constexpr int64_t kMaxHeadDim = 512;
inline constexpr int64_t kMaxBlockSize = 256;
// block_size in [1, kMaxBlockSize], head_dim in [1, kMaxHeadDim].
KvLayout MakeKvLayout(Element element, int64_t num_kv_heads, int64_t head_dim, int64_t block_size);

// Writes one token's keys and values, each [num_kv_heads * head_dim], into slot
// `token` of `block`.
void StoreKv(const KvLayout& layout, void* block, int64_t token, const float* keys,
             const float* values);

struct AttentionParams {
  KvLayout kv;
  const void* cache;
  const float* q;  // row r, q head h at q + r * q_stride + h * head_dim
  int64_t q_stride;
  float* out;  // row r, q head h at out + r * out_stride + h * head_dim
  int64_t out_stride;
  float scale;
};

// Some consecutive rows of one sequence times some q heads of one kv head. Row
// first_row + i stands at first_position + i and sees keys up to itself.
// num_rows * num_heads <= kMaxAttentionRows.
struct AttentionTask {
  const int32_t* block_table;
  int64_t first_row;
  int64_t num_rows;
  int64_t first_position;
  int64_t kv_head;
  int64_t first_q_head;
  int64_t num_heads;
};
inline constexpr int64_t kMaxAttentionRows = 16;

// The keys in a split; a row's softmax is computed split by split and joined in
// order, so splits may also be computed apart.
int64_t AttentionSplitKeys(const KvLayout& layout);

void Attention(const AttentionParams& p, const AttentionTask& task);

// One split of a row at position `first_position` (num_rows is 1): writes, per
// head, value_stride sums, the maximum and the weight sum.
inline int64_t AttentionPartialFloats(const KvLayout& layout) { return layout.value_stride + 2; }
void AttentionPartial(const AttentionParams& p, const AttentionTask& task, int64_t split,
                      float* partial);
// Joins `splits` partials, each of task.num_heads heads, in order into out.
void JoinPartials(const AttentionParams& p, const AttentionTask& task, const float* partials,
                  int64_t splits);

}  // namespace inferd::kernels
