// out = softmax(scale q K^T) V, causal, over a paged cache.
//
// Layout: KvLayout (cpu/attention.h). Keys are transposed so that a vector holds
// one dim of 16 tokens: scores need no horizontal sums.
// Order: keys in tiles of whole blocks (64 keys for blocks of 16) from position 0,
// tiles joined to splits by the running maximum, splits of 512 keys joined in
// order. Boundaries depend on positions only: a row's bits do not depend on how
// its prompt was chunked, on its neighbours or on who computed which split.
// Bound: cache bytes in decode (a kv head is read once for its whole group),
// multiply-adds in prefill.
#include "cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/attention_tile-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

constexpr int64_t kTileKeys = 64;
constexpr int64_t kSplitKeys = 512;
constexpr int64_t kMaxSlots = kMaxBlockSize;
constexpr int64_t kMaxBlocksPerTile = kTileKeys / 16;
constexpr float kNone = -std::numeric_limits<float>::infinity();

int64_t BlocksPerTile(const KvLayout& kv) {
  return std::max<int64_t>(1, kTileKeys / kv.token_stride);
}

int64_t SplitKeysTarget(const KvLayout& kv) {
  const int64_t tile = BlocksPerTile(kv) * kv.block_size;
  return std::max<int64_t>(1, kSplitKeys / tile) * tile;
}

// The running softmax of up to kMaxAttentionRows rows.
struct State {
  alignas(64) float sums[kMaxAttentionRows][kMaxHeadDim];
  float max[kMaxAttentionRows];
  float weight[kMaxAttentionRows];

  void Clear(int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      std::fill_n(sums[r], width, 0.0F);
      max[r] = kNone;
      weight[r] = 0;
    }
  }
};

HWY_INLINE float ExpOne(float x) { return hn::GetLane(Exp(hn::Set(DF(), x))); }

// state = state joined with the split (max, weight, sums) that follows it.
void Join(float* sums, float* max, float* weight, const float* split_sums, float split_max,
          float split_weight, int64_t width) {
  const DF d;
  const float joined = std::max(*max, split_max);
  const float a = ExpOne(*max - joined);
  const float b = ExpOne(split_max - joined);
  for (int64_t i = 0; i < width; i += static_cast<int64_t>(LaneCount())) {
    const VF old = hn::Mul(hn::LoadU(d, sums + i), hn::Set(d, a));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, split_sums + i), hn::Set(d, b), old), d, sums + i);
  }
  *weight = *weight * a + split_weight * b;
  *max = joined;
}

template <class T>
struct ScoreBody {
  const float* const* q;  // [rows]
  const T* const* keys;   // [vectors]
  float* const* scores;   // [rows]
  const AttentionParams& p;
  template <int kRows, int kCount>
  HWY_INLINE void Run(int64_t row, int64_t vector) const {
    float* out[kRows];
    for (int r = 0; r < kRows; ++r) {
      out[r] = scores[row + r] + vector * static_cast<int64_t>(LaneCount());
    }
    ScoreTile<kRows, kCount>(q + row, keys + vector, p.kv.token_stride, p.kv.head_dim, p.scale,
                             out);
  }
};

template <class T>
struct MixBody {
  const float* const* weights;  // [rows]
  const T* values;
  int64_t stride;
  int64_t count;
  float* const* sums;  // [rows]
  template <int kRows, int kCount>
  HWY_INLINE void Run(int64_t row, int64_t vector) const {
    const auto offset = vector * static_cast<int64_t>(LaneCount());
    float* out[kRows];
    for (int r = 0; r < kRows; ++r) out[r] = sums[row + r] + offset;
    MixTile<kRows, kCount>(weights + row, values + offset, stride, count, out);
  }
};

// Turns the scores of a row into weights relative to its new maximum.
HWY_INLINE void Soften(float* scores, int64_t slots, int64_t width, State& state, int64_t row) {
  const DF d;
  const auto lanes = static_cast<int64_t>(LaneCount());
  VF max = hn::Set(d, state.max[row]);
  for (int64_t i = 0; i < slots; i += lanes) max = hn::Max(max, hn::Load(d, scores + i));
  const float new_max = Max(max);
  const VF shift = hn::Set(d, new_max);
  VF sum = hn::Zero(d);
  for (int64_t i = 0; i < slots; i += lanes) {
    const VF w = Exp(hn::Sub(hn::Load(d, scores + i), shift));
    hn::Store(w, d, scores + i);
    sum = hn::Add(sum, w);
  }
  const float correction = ExpOne(state.max[row] - new_max);
  state.weight[row] = state.weight[row] * correction + Sum(sum);
  state.max[row] = new_max;
  if (correction != 1.0F) {
    const VF factor = hn::Set(d, correction);
    for (int64_t i = 0; i < width; i += lanes) {
      hn::Store(hn::Mul(hn::Load(d, state.sums[row] + i), factor), d, state.sums[row] + i);
    }
  }
}

// Rows of a task are token-major: row = token * num_heads + head. `first` is the
// first token of the task that sees the tile at all.
template <class T>
void RunKeys(const AttentionParams& p, const AttentionTask& task, int64_t begin, int64_t end,
             int64_t first, State& state) {
  const KvLayout& kv = p.kv;
  const int64_t heads = task.num_heads;
  const int64_t blocks = BlocksPerTile(kv);
  const int64_t lanes = static_cast<int64_t>(LaneCount());
  const int64_t last_position = task.first_position + task.num_rows - 1;
  alignas(64) float scores[kMaxAttentionRows][kMaxSlots];
  const float* q[kMaxAttentionRows];
  float* score_rows[kMaxAttentionRows];
  float* sum_rows[kMaxAttentionRows];
  const int64_t rows = task.num_rows * heads;
  for (int64_t r = 0; r < rows; ++r) {
    q[r] = p.q + (task.first_row + r / heads) * p.q_stride +
           (task.first_q_head + r % heads) * kv.head_dim;
    score_rows[r] = scores[r];
    sum_rows[r] = state.sums[r];
  }
  for (int64_t tile = begin; tile < end; tile += blocks * kv.block_size) {
    // Tokens before the tile's first key see nothing of it.
    first = std::max(first, tile - task.first_position);
    const int64_t first_row = first * heads;
    const int64_t tile_end = std::min(last_position + 1, tile + blocks * kv.block_size);
    const int64_t used_blocks = (tile_end - tile + kv.block_size - 1) / kv.block_size;
    const T* block_keys[kMaxBlocksPerTile];
    const T* keys[kMaxSlots];
    int64_t vectors = 0;
    for (int64_t b = 0; b < used_blocks; ++b) {
      const auto* block = static_cast<const std::byte*>(p.cache) +
                          task.block_table[tile / kv.block_size + b] * kv.block_bytes;
      block_keys[b] = reinterpret_cast<const T*>(block) + task.kv_head * kv.head_elements;
      for (int64_t i = 0; i < kv.token_stride; i += lanes) keys[vectors++] = block_keys[b] + i;
    }
    CoverTile(rows - first_row, vectors,
              ScoreBody<T>{q + first_row, keys, score_rows + first_row, p});

    const int64_t slots = used_blocks * kv.token_stride;
    for (int64_t r = first_row; r < rows; ++r) {
      const int64_t visible = task.first_position + r / heads + 1 - tile;
      for (int64_t b = 0; b < used_blocks; ++b) {
        const int64_t valid = std::clamp<int64_t>(visible - b * kv.block_size, 0, kv.block_size);
        std::fill(scores[r] + b * kv.token_stride + valid, scores[r] + (b + 1) * kv.token_stride,
                  kNone);
      }
      Soften(scores[r], slots, kv.value_stride, state, r);
    }

    for (int64_t b = 0; b < used_blocks; ++b) {
      const T* values = block_keys[b] + kv.head_dim * kv.token_stride;
      const float* weights[kMaxAttentionRows];
      for (int64_t r = first_row; r < rows; ++r) weights[r] = scores[r] + b * kv.token_stride;
      const auto mix = [&](int64_t row_begin, int64_t row_end, int64_t count) HWY_ATTR {
        CoverTile(
            row_end - row_begin, kv.value_stride / lanes,
            MixBody<T>{weights + row_begin, values, kv.value_stride, count, sum_rows + row_begin});
      };
      const int64_t block_begin = tile + b * kv.block_size;
      // Whole blocks together; on the diagonal each token its own count, for a
      // key a row may not see must not touch it, not even with weight zero.
      if (task.first_position + first >= block_begin + kv.block_size - 1) {
        mix(first_row, rows, kv.block_size);
        continue;
      }
      for (int64_t token = first; token < task.num_rows; ++token) {
        const int64_t count =
            std::clamp<int64_t>(task.first_position + token + 1 - block_begin, 0, kv.block_size);
        if (count > 0) mix(token * heads, (token + 1) * heads, count);
      }
    }
  }
}

void RunSplit(const AttentionParams& p, const AttentionTask& task, int64_t begin, int64_t end,
              int64_t first, State& state) {
  if (p.kv.element == Element::kBF16) {
    RunKeys<uint16_t>(p, task, begin, end, first, state);
  } else {
    RunKeys<float>(p, task, begin, end, first, state);
  }
}

void WriteOut(const AttentionParams& p, const float* sums, float weight, int64_t row,
              int64_t q_head) {
  float* out = p.out + row * p.out_stride + q_head * p.kv.head_dim;
  const float factor = 1.0F / weight;
  for (int64_t i = 0; i < p.kv.head_dim; ++i) out[i] = sums[i] * factor;
}

void AttentionTarget(const AttentionParams& p, const AttentionTask& task) {
  const int64_t rows = task.num_rows * task.num_heads;
  const int64_t keys = task.first_position + task.num_rows;
  const int64_t split_keys = SplitKeysTarget(p.kv);
  State total;
  total.Clear(rows, p.kv.value_stride);
  for (int64_t begin = 0; begin < keys; begin += split_keys) {
    const int64_t end = std::min(begin + split_keys, keys);
    const int64_t first = std::max<int64_t>(0, begin - task.first_position);
    if (begin == 0) {
      RunSplit(p, task, begin, end, first, total);
      continue;
    }
    State split;
    split.Clear(rows, p.kv.value_stride);
    RunSplit(p, task, begin, end, first, split);
    for (int64_t r = first * task.num_heads; r < rows; ++r) {
      Join(total.sums[r], &total.max[r], &total.weight[r], split.sums[r], split.max[r],
           split.weight[r], p.kv.value_stride);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    WriteOut(p, total.sums[r], total.weight[r], task.first_row + r / task.num_heads,
             task.first_q_head + r % task.num_heads);
  }
}

void PartialTarget(const AttentionParams& p, const AttentionTask& task, int64_t split,
                   float* partial) {
  const int64_t keys = task.first_position + 1;
  const int64_t split_keys = SplitKeysTarget(p.kv);
  State state;
  state.Clear(task.num_heads, p.kv.value_stride);
  RunSplit(p, task, split * split_keys, std::min((split + 1) * split_keys, keys), 0, state);
  for (int64_t h = 0; h < task.num_heads; ++h) {
    std::copy_n(state.sums[h], p.kv.value_stride, partial);
    partial += p.kv.value_stride;
    *partial++ = state.max[h];
    *partial++ = state.weight[h];
  }
}

void JoinTarget(const AttentionParams& p, const AttentionTask& task, const float* partials,
                int64_t splits) {
  const int64_t width = p.kv.value_stride;
  const int64_t head_floats = AttentionPartialFloats(p.kv);
  alignas(64) float sums[kMaxHeadDim];
  for (int64_t h = 0; h < task.num_heads; ++h) {
    const float* partial = partials + h * head_floats;
    std::copy_n(partial, width, sums);
    float max = partial[width];
    float weight = partial[width + 1];
    for (int64_t s = 1; s < splits; ++s) {
      partial += task.num_heads * head_floats;
      Join(sums, &max, &weight, partial, partial[width], partial[width + 1], width);
    }
    WriteOut(p, sums, weight, task.first_row, task.first_q_head + h);
  }
}

template <class T>
void StoreHeads(const KvLayout& kv, T* block, int64_t token, const float* keys,
                const float* values) {
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t h = 0; h < kv.num_kv_heads; ++h) {
    T* key = block + h * kv.head_elements + token;
    T* value =
        block + h * kv.head_elements + kv.head_dim * kv.token_stride + token * kv.value_stride;
    // Converted in whole vectors; the keys are then scattered along their dims.
    alignas(64) T converted[16];
    int64_t i = 0;
    for (; i < kv.head_dim; i += lanes) {
      const int64_t count = std::min(lanes, kv.head_dim - i);
      const float* from = keys + h * kv.head_dim + i;
      StoreFloats(count == lanes ? LoadFloats(from) : LoadPartial(from, static_cast<size_t>(count)),
                  converted);
      for (int64_t j = 0; j < count; ++j) key[(i + j) * kv.token_stride] = converted[j];
      from = values + h * kv.head_dim + i;
      // The padding behind head_dim takes the vector's zeros.
      StoreFloats(count == lanes ? LoadFloats(from) : LoadPartial(from, static_cast<size_t>(count)),
                  value + i);
    }
  }
}

void StoreKvTarget(const KvLayout& kv, void* block, int64_t token, const float* keys,
                   const float* values) {
  if (kv.element == Element::kBF16) {
    StoreHeads(kv, static_cast<uint16_t*>(block), token, keys, values);
  } else {
    StoreHeads(kv, static_cast<float*>(block), token, keys, values);
  }
}

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(AttentionTarget);
HWY_EXPORT(PartialTarget);
HWY_EXPORT(JoinTarget);
HWY_EXPORT(StoreKvTarget);
HWY_EXPORT(SplitKeysTarget);
}  // namespace

KvLayout MakeKvLayout(Element element, int64_t num_kv_heads, int64_t head_dim, int64_t block_size) {
  KvLayout kv{};
  kv.element = element;
  kv.num_kv_heads = num_kv_heads;
  kv.head_dim = head_dim;
  kv.block_size = block_size;
  kv.token_stride = RoundUp(block_size, 16);
  kv.value_stride = RoundUp(head_dim, 16);
  kv.head_elements = head_dim * kv.token_stride + block_size * kv.value_stride;
  kv.block_bytes =
      RoundUp(num_kv_heads * kv.head_elements * (element == Element::kBF16 ? 2 : 4), 64);
  return kv;
}

void StoreKv(const KvLayout& layout, void* block, int64_t token, const float* keys,
             const float* values) {
  HWY_DYNAMIC_DISPATCH(StoreKvTarget)(layout, block, token, keys, values);
}
int64_t AttentionSplitKeys(const KvLayout& layout) {
  return HWY_DYNAMIC_DISPATCH(SplitKeysTarget)(layout);
}
void Attention(const AttentionParams& p, const AttentionTask& task) {
  HWY_DYNAMIC_DISPATCH(AttentionTarget)(p, task);
}
void AttentionPartial(const AttentionParams& p, const AttentionTask& task, int64_t split,
                      float* partial) {
  HWY_DYNAMIC_DISPATCH(PartialTarget)(p, task, split, partial);
}
void JoinPartials(const AttentionParams& p, const AttentionTask& task, const float* partials,
                  int64_t splits) {
  HWY_DYNAMIC_DISPATCH(JoinTarget)(p, task, partials, splits);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
