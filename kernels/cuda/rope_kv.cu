// x[i] = a cos - b sin, x[i + half] = b cos + a sin for pairs (a, b), then the cache.
// One warp a head, a lane every 32nd dimension, all of the head in registers: 8-bit
// keys and values need its largest, the norm its sum.
#include "cuda/rope_kv.h"

#include "cuda/code.h"
#include "cuda/reduce.h"
#include "cuda/row_access.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxHeadDim = 256;
constexpr int kPerLane = kMaxHeadDim / 32;

// The head's values, lane + 32 j in v[j], to the cache.
SIMT_DEVICE void StoreHead(const KvCache& kv, int64_t block, int64_t index,
                           const float (&v)[kPerLane], bool is_value) {
  const auto lane = static_cast<int32_t>(Lane());
  unsigned char* const to = KvNumbers(kv, block, index);
  Rounding rounding = {0, 0};
  if (kv.type == KvType::kInt8) {
    float largest = 0;
    SIMT_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      if (lane + 32 * j < kv.head_dim) largest = fmaxf(largest, Magnitude(v[j]));
    }
    rounding = RoundingOf(WarpReduce(largest, MaxOperation{}));
    if (lane == 0) *KvScale(kv, block, index) = rounding.scale;
  }
  const float inverse = 1.0F / (is_value ? kv.value_scale : kv.key_scale);
  SIMT_UNROLL
  for (int j = 0; j < kPerLane; ++j) {
    const int32_t d = lane + 32 * j;
    if (d >= kv.head_dim) continue;
    switch (kv.type) {
      case KvType::kF32:
        reinterpret_cast<float*>(to)[d] = v[j];
        break;
      case KvType::kBf16:
        reinterpret_cast<Bf16*>(to)[d] = FromFloat<Bf16>(v[j]);
        break;
      case KvType::kInt8:
        reinterpret_cast<int8_t*>(to)[d] = RoundToInt8(v[j], rounding);
        break;
      case KvType::kE4m3:
        // An infinity would be rounded to the largest number and never be seen again.
        reinterpret_cast<E4m3*>(to)[d] =
            IsFinite(v[j]) ? FromFloat<E4m3>(v[j] * inverse) : E4m3{0x7F};
        break;
    }
  }
}

SIMT_KERNEL(kThreads) RopeKvKernel(RopeKvParams p) {
  const int64_t row = BlockX();
  const auto head = static_cast<int32_t>(BlockY() * kWarps + Warp());
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t head_dim = p.kv.head_dim;
  const int32_t k_end = p.num_q_heads + p.kv.num_kv_heads;
  const bool stores = p.kv.data != nullptr;
  const int32_t num_heads = stores ? k_end + p.kv.num_kv_heads : p.num_rotated;
  ReleaseSuccessor();
  WaitForPredecessor();
  const int32_t position = p.positions[row];
  if (head < num_heads && position >= 0) {
    const int64_t start = int64_t{head} * head_dim;
    float v[kPerLane];
    SIMT_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      v[j] = 0;
      const int32_t d = lane + 32 * j;
      if (d >= head_dim) continue;
      float one[1];
      LoadColumns<1>(p.qkv, row, start + d, one);
      v[j] = one[0];
    }
    if (head < p.num_rotated) {
      const int32_t half = p.rotary_dim / 2;
      const float* const norm = head < p.num_q_heads ? p.q_norm : p.k_norm;
      float scale = 1.0F;
      if (norm != nullptr) {
        float sum = 0;
        SIMT_UNROLL
        for (int j = 0; j < kPerLane; ++j) sum = fmaf(v[j], v[j], sum);
        sum = WarpReduce(sum, AddOperation{});
        scale = 1.0F / sqrtf(sum / static_cast<float>(head_dim) + p.eps);
      }
      // The other number of the pair, as it was before anything is written.
      float other[kPerLane];
      SIMT_UNROLL
      for (int j = 0; j < kPerLane; ++j) {
        const int32_t d = lane + 32 * j;
        if (d >= head_dim) continue;
        if (norm != nullptr) v[j] = v[j] * scale * norm[d];
        other[j] = 0;
        if (d >= p.rotary_dim) continue;
        const int32_t pair = d < half ? d + half : d - half;
        float one[1];
        LoadColumns<1>(p.qkv, row, start + pair, one);
        other[j] = norm != nullptr ? one[0] * scale * norm[pair] : one[0];
      }
      SyncWarp();
      SIMT_UNROLL
      for (int j = 0; j < kPerLane; ++j) {
        const int32_t d = lane + 32 * j;
        if (d >= head_dim) continue;
        if (d < p.rotary_dim) {
          const int64_t entry = int64_t{position} * half + (d < half ? d : d - half);
          const float sin = d < half ? -p.sin[entry] : p.sin[entry];
          v[j] = v[j] * p.cos[entry] + other[j] * sin;
        }
        const float one[1] = {v[j]};
        StoreColumns<1>(p.qkv, row, start + d, one);
      }
    }
    if (stores && head >= p.num_q_heads) {
      const bool is_value = head >= k_end;
      const int32_t block = p.block_tables[int64_t{p.row_sequence[row]} * p.table_stride +
                                           position / p.kv.block_size];
      const int64_t index = KvIndex(p.kv, is_value, is_value ? head - k_end : head - p.num_q_heads,
                                    position % p.kv.block_size);
      StoreHead(p.kv, block, index, v, is_value);
    }
  }
}

}  // namespace

int RopeKv(const RopeKvParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  const bool stores = p.kv.data != nullptr;
  const int32_t num_heads = stores ? p.num_q_heads + 2 * p.kv.num_kv_heads : p.num_rotated;
  if (num_heads == 0) return 0;
  if (p.kv.head_dim > kMaxHeadDim || p.rotary_dim > p.kv.head_dim || p.rotary_dim % 2 != 0) {
    return kBadArguments;
  }
  return Launch(RopeKvKernel,
                {.grid = {static_cast<unsigned>(p.num_rows),
                          static_cast<unsigned>((num_heads + kWarps - 1) / kWarps)},
                 .block = {kThreads},
                 .shared_bytes = 0,
                 .early = true},
                stream, p);
}

int code::LoadRopeKv() { return LoadKernels(RopeKvKernel); }

}  // namespace inferd::cuda
