// The paged KV cache's layout, and writing to it.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

enum class KvElement : uint8_t { kF32, kBF16, kI8, kE4M3 };

// A block of `block_size` tokens holds, one kv head after another, the keys
// transposed and the values plain, both padded to whole vectors:
//   K [head_dim][token_stride]   V [block_size][value_stride]
// and with kI8 the f32 scale of each token's key and value:
//   KS [token_stride]   VS [token_stride]
// What a head has in a block is contiguous, so a reader of one head takes one run
// of bytes per block.
struct KvLayout {
  KvElement element;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  int64_t token_stride;  // block_size rounded up to 16
  int64_t value_stride;  // head_dim rounded up to 16
  int64_t value_bytes;   // from the start of a head to its values
  int64_t scale_bytes;   // from the start of a head to its scales
  int64_t head_bytes;
  int64_t block_bytes;  // a multiple of 64
};
inline constexpr int64_t kMaxHeadDim = 512;
inline constexpr int64_t kMaxBlockSize = 256;
// block_size in [1, kMaxBlockSize], head_dim in [1, kMaxHeadDim].
KvLayout MakeKvLayout(KvElement element, int64_t num_kv_heads, int64_t head_dim,
                      int64_t block_size);

// Writes one token's keys and values, each [num_kv_heads * head_dim], into slot
// `token` of `block`. kI8: a NaN or an infinity makes the head's scale a NaN. kE4M3: it
// becomes a NaN, and what is larger than 448 becomes that.
void StoreKv(const KvLayout& layout, void* block, int64_t token, const float* keys,
             const float* values);

}  // namespace inferd::kernels
