// softmax(q K^T * scale) V by one warp a row and head: 32 keys at a time, a lane a
// key for the scores, a lane every 32nd dimension for the values. Online softmax.
#include "cuda/attention.h"

#include "cuda/code.h"
#include "cuda/reduce.h"
#include "cuda/row_access.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxHeadDim = 256;
constexpr int kPerLane = kMaxHeadDim / 32;

struct CachedHead {
  const unsigned char* numbers;
  float scale;
};

SIMT_DEVICE CachedHead FindHead(const AttentionParams& p, int32_t sequence, int32_t head,
                                int32_t key, bool value) {
  const int32_t block = p.block_tables[int64_t{sequence} * p.table_stride + key / p.kv.block_size];
  const int64_t index = KvIndex(p.kv, value, head, key % p.kv.block_size);
  float scale = 1.0F;
  if (p.kv.type == KvType::kInt8) scale = *KvScale(p.kv, block, index);
  if (p.kv.type == KvType::kE4m3) scale = value ? p.kv.value_scale : p.kv.key_scale;
  return {KvNumbers(p.kv, block, index), scale};
}

SIMT_DEVICE float NumberAt(KvType type, const unsigned char* numbers, int32_t d) {
  switch (type) {
    case KvType::kF32:
      return reinterpret_cast<const float*>(numbers)[d];
    case KvType::kBf16:
      return ToFloat(reinterpret_cast<const Bf16*>(numbers)[d]);
    case KvType::kInt8:
      return static_cast<float>(reinterpret_cast<const int8_t*>(numbers)[d]);
    case KvType::kE4m3:
      break;
  }
  return ToFloat(reinterpret_cast<const E4m3*>(numbers)[d]);
}

SIMT_KERNEL(kThreads)
PlainKernel(AttentionParams p) {
  SIMT_SHARED(queries, Array<Array<float, kMaxHeadDim>, kWarps>);
  const int64_t row = BlockX();
  const auto head = static_cast<int32_t>(BlockY() * kWarps + Warp());
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t head_dim = p.kv.head_dim;
  ReleaseSuccessor();
  WaitForPredecessor();
  const int32_t position = p.positions[row];
  if (head < p.num_q_heads && position >= 0) {
    auto& query = queries[static_cast<int>(Warp())];
    for (int32_t d = lane; d < head_dim; d += 32) {
      float one[1];
      LoadColumns<1>(p.qkv, row, int64_t{head} * head_dim + d, one);
      query[d] = one[0];
    }
    SyncWarp();
    const int32_t sequence = p.row_sequence[row];
    const int32_t kv_head = head / (p.num_q_heads / p.kv.num_kv_heads);
    float max = -FloatFromBits(0x7F800000U);
    float sum = 0;
    float out[kPerLane] = {};
    for (int32_t first = 0; first <= position; first += 32) {
      float score = -FloatFromBits(0x7F800000U);
      if (first + lane <= position) {
        const CachedHead key = FindHead(p, sequence, kv_head, first + lane, false);
        float dot = 0;
        for (int32_t d = 0; d < head_dim; ++d) {
          dot = fmaf(query[d], NumberAt(p.kv.type, key.numbers, d), dot);
        }
        score = dot * key.scale * p.scale;
      }
      // NaN, which a maximum passes over, shows in the weights.
      const float next = fmaxf(max, WarpReduce(score, MaxOperation{}));
      const float weight = expf(score - next);
      const float keep = expf(max - next);
      max = next;
      sum = fmaf(sum, keep, WarpReduce(weight, AddOperation{}));
      SIMT_UNROLL
      for (int j = 0; j < kPerLane; ++j) out[j] *= keep;
      const int32_t keys = position + 1 - first < 32 ? position + 1 - first : 32;
      for (int32_t k = 0; k < keys; ++k) {
        const CachedHead value = FindHead(p, sequence, kv_head, first + k, true);
        const float w = Shfl(weight, static_cast<unsigned>(k)) * value.scale;
        SIMT_UNROLL
        for (int j = 0; j < kPerLane; ++j) {
          const int32_t d = lane + 32 * j;
          if (d < head_dim) out[j] = fmaf(w, NumberAt(p.kv.type, value.numbers, d), out[j]);
        }
      }
    }
    SIMT_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      const int32_t d = lane + 32 * j;
      if (d >= head_dim) continue;
      const float one[1] = {out[j] / sum};
      StoreColumns<1>(p.out, row, int64_t{head} * head_dim + d, one);
    }
  }
}

}  // namespace

int PlainAttention(const AttentionParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  if (p.kv.head_dim > kMaxHeadDim || p.num_q_heads % p.kv.num_kv_heads != 0) return kBadArguments;
  return Launch(PlainKernel,
                {.grid = {static_cast<unsigned>(p.num_rows),
                          static_cast<unsigned>((p.num_q_heads + kWarps - 1) / kWarps)},
                 .block = {kThreads},
                 .shared_bytes = 0,
                 .early = true},
                stream, p);
}

int code::LoadAttentionPlain() { return LoadKernels(PlainKernel); }

}  // namespace inferd::cuda
