// How keys and values lie in a block of the paged cache on the device:
//   [K | V][kv head][token][dim], then for int8 the scales [K | V][kv head][token] f32.
// A head's tokens of a block are neighbours, so that a tile is read in long runs.
// Every function is the same on the host.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace inferd::cuda {

// kE4m3 rounds value / scale to FP8, with one scale for all keys of a layer and one
// for all values; kInt8 has a scale per token and head.
enum class KvType : uint8_t { kF32, kBf16, kInt8, kE4m3 };

SIMT_HOST_DEVICE constexpr int32_t KvSize(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1;
}

// One layer's cache.
struct KvCache {
  void* data = nullptr;
  int64_t block_bytes = 0;  // KvBlockBytes of the rest, or more
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_size = 16;  // tokens
  KvType type = KvType::kBf16;
  float key_scale = 1.0F;  // kE4m3
  float value_scale = 1.0F;
};

// Bytes of the numbers of a block, which the scales follow.
SIMT_HOST_DEVICE int64_t KvNumberBytes(const KvCache& kv) {
  const int64_t bytes =
      int64_t{2} * kv.num_kv_heads * kv.block_size * kv.head_dim * KvSize(kv.type);
  return (bytes + 15) / 16 * 16;
}
SIMT_HOST_DEVICE int64_t KvBlockBytes(const KvCache& kv) {
  const int64_t scales =
      kv.type == KvType::kInt8 ? int64_t{2} * kv.num_kv_heads * kv.block_size * 4 : 0;
  return KvNumberBytes(kv) + (scales + 15) / 16 * 16;
}

// Which (plane, head, token) of a block: 0 .. 2 * heads * block_size - 1.
SIMT_HOST_DEVICE int64_t KvIndex(const KvCache& kv, bool value, int32_t head, int32_t token) {
  return (int64_t{value ? kv.num_kv_heads : 0} + head) * kv.block_size + token;
}
// The numbers of one token and head.
SIMT_HOST_DEVICE unsigned char* KvNumbers(const KvCache& kv, int64_t block, int64_t index) {
  return static_cast<unsigned char*>(kv.data) + block * kv.block_bytes +
         index * kv.head_dim * KvSize(kv.type);
}
// kInt8: their scale.
SIMT_HOST_DEVICE float* KvScale(const KvCache& kv, int64_t block, int64_t index) {
  return reinterpret_cast<float*>(static_cast<unsigned char*>(kv.data) + block * kv.block_bytes +
                                  KvNumberBytes(kv)) +
         index;
}

}  // namespace inferd::cuda
