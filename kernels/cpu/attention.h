// Attention over the paged KV cache.
#pragma once

#include <cstdint>

#include "cpu/kv_cache.h"

namespace inferd::kernels {

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

// `next` is what this thread does afterwards, to be fetched meanwhile; `task` again
// when there is nothing.
void Attention(const AttentionParams& p, const AttentionTask& task, const AttentionTask& next);

// One split of a task on its own, for JoinPartials: for each of its num_rows *
// num_heads rows value_stride sums, then the rows' maxima, then their weights.
inline int64_t AttentionPartialFloats(const KvLayout& layout, int64_t rows) {
  return rows * (layout.value_stride + 2);
}
void AttentionPartial(const AttentionParams& p, const AttentionTask& task, int64_t split,
                      const AttentionTask& next, int64_t next_split, float* partial);
// Joins all the splits of a task, one partial after another, into out. The first
// partial is overwritten.
void JoinPartials(const AttentionParams& p, const AttentionTask& task, float* partials);

}  // namespace inferd::kernels
