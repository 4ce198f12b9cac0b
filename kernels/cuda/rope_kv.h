// Rotary embedding and the writing of keys and values, in one pass over qkv. Host
// functions that enqueue on `stream`; each returns 0 or a cudaError_t.
#pragma once

#include <cstdint>

#include "cuda/kv_cache.h"
#include "cuda/launch.h"
#include "cuda/rows.h"

namespace inferd::cuda {

// For each row [q heads | k heads | v heads] of qkv: q and k heads are normalised
// (where there are weights), rotated, and written back; k and v go to the cache.
// Pairs are (i, i + rotary_dim / 2). A row at a negative position is padding: it is
// left alone. With rotary_dim 0 nothing rotates; without a cache nothing is stored.
// A warp takes a head. Floor: (read qkv, write q, k, and the cache) / 3 TB/s; 1.4 us
// for 256 rows of Llama-3-8B in bf16.
struct RopeKvParams {
  Rows qkv;
  const int32_t* positions = nullptr;     // [num_rows]
  const int32_t* row_sequence = nullptr;  // [num_rows]
  const int32_t* block_tables = nullptr;  // [sequences, table_stride]
  int32_t table_stride = 0;
  const float* cos = nullptr;  // [positions, rotary_dim / 2]
  const float* sin = nullptr;
  const float* q_norm = nullptr;  // [head_dim] or null
  const float* k_norm = nullptr;
  float eps = 0;
  int32_t rotary_dim = 0;
  int32_t num_rotated = 0;  // heads from the first: rotated (and normalised)
  int32_t num_q_heads = 0;  // the k heads follow; all heads where nothing is stored
  KvCache kv;               // data null: not stored; head_dim counts all the same
  int32_t num_rows = 0;
};
int RopeKv(const RopeKvParams& params, Stream stream);

}  // namespace inferd::cuda
