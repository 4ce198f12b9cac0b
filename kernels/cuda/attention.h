// Causal attention over the paged cache. Host functions that enqueue on `stream`;
// each returns 0 or a cudaError_t.
//
// A row's result is a function of its query and its sequence's keys alone, bit for
// bit: keys go in tiles of 64 and splits of kSplitKeys from the start of the sequence,
// each split has a softmax of its own, and splits are joined in order. Decode and
// prefill do the same arithmetic; they only share it out differently.
//
// Algorithm: online softmax (Milakov and Gimelshein 2018; FlashAttention-2, Dao 2023)
// on mma.sync m16n8k16, split keys with a merge by the last block to arrive
// (Flash-Decoding, 2023). Sums of weights are products with ones, so that they add up
// in the same order everywhere.
#pragma once

#include <cstdint>

#include "cuda/attention_work.h"
#include "cuda/kv_cache.h"
#include "cuda/launch.h"
#include "cuda/rows.h"

namespace inferd::cuda {

struct AttentionParams {
  Rows qkv;  // row r, q head h at column h * head_dim
  Rows out;  // [rows, q heads * head_dim], f32 or bf16
  KvCache kv;
  int32_t num_q_heads = 0;
  float scale = 1.0F;
  // The step.
  const int32_t* row_start = nullptr;     // [sequences + 1]
  const int32_t* context_len = nullptr;   // [sequences]
  const int32_t* block_tables = nullptr;  // [sequences, table_stride]
  int32_t table_stride = 0;
  const int32_t* row_sequence = nullptr;  // [num_rows]; PlainAttention only
  const int32_t* positions = nullptr;     // [num_rows]; likewise; negative: padding
  int32_t num_rows = 0;                   // likewise
  // Of BuildAttentionWork.
  const AttentionCounts* counts = nullptr;
  const DecodeItem* decode = nullptr;
  const PrefillItem* prefill = nullptr;
  // For tiles that several blocks share: [num_kv_heads, max_partial_rows, head_dim + 2],
  // and [groups * num_kv_heads] zeros, which are zeros again afterwards.
  float* partials = nullptr;
  int32_t max_partial_rows = 0;
  int32_t* arrivals = nullptr;
  // bf16 terms that stand for a query and for a weight: 1, or 3 for f32 activations.
  int32_t terms = 1;
  int32_t multiprocessors = 1;
  int32_t max_shared_bytes = 99 * 1024;  // of a block; a multiprocessor has 1 KB more
  int32_t prefill_stages = 0;            // of tiles in shared memory; PrefillAttention's own
};

// Whether the tensor core kernels take it: head_dim a multiple of 16 up to 128, keys
// in bf16, int8 or e4m3, and shared memory enough, which 99 KB are for one term. Else
// PlainAttention.
bool TensorAttentionFits(const AttentionParams& params);
// Blocks of either kernel that a multiprocessor holds at once; the grid is as many on each.
int32_t DecodeBlocks(const AttentionParams& params);
int32_t PrefillBlocks(const AttentionParams& params);

// The decode items. Floor: bytes of the keys and values / 3 TB/s (at a context of 1k
// of Llama-3-8B in bf16 1.4 us a layer and sequence).
int DecodeAttention(const AttentionParams& params, Stream stream);
// The prefill items. Floor: 4 * keys * head_dim * rows flops at mma.sync's rate.
int PrefillAttention(const AttentionParams& params, Stream stream);
// Any head_dim up to 256 and any cache, a warp a row and head, in f32, without tensor
// cores: the way for f32 caches and odd heads. Needs no work list.
int PlainAttention(const AttentionParams& params, Stream stream);

}  // namespace inferd::cuda
