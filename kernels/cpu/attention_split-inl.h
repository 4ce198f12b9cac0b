// The softmax of a task's rows over one split of keys: scores, weights, mix.
//
// First all scores of the split, then its maximum and weights, then the values;
// meanwhile the bytes of the split to come are fetched, block after block, keys and
// values of a block being one run.
#if defined(INFERD_KERNELS_ATTENTION_SPLIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INFERD_KERNELS_ATTENTION_SPLIT_INL_H_
#undef INFERD_KERNELS_ATTENTION_SPLIT_INL_H_
#else
#define INFERD_KERNELS_ATTENTION_SPLIT_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "cpu/attention.h"
#include "cpu/attention_tile-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

inline constexpr float kNone = -std::numeric_limits<float>::infinity();
inline constexpr int64_t kMaxSplitBlocks = kSplitSlots / 16;
inline constexpr int64_t kMaxChunkBlocks = kChunkSlots / 16;

// A split and the one being fetched stay within L2.
inline int64_t SplitBlocks(const KvLayout& kv) {
  constexpr int64_t kSplitBytes = int64_t{256} << 10;
  const int64_t blocks = std::min(kSplitSlots / kv.token_stride, kSplitBytes / kv.head_bytes);
  const int64_t chunk = std::max<int64_t>(1, kChunkSlots / kv.token_stride);
  return std::max(chunk, blocks / chunk * chunk);
}
inline int64_t SplitKeys(const KvLayout& kv) { return SplitBlocks(kv) * kv.block_size; }

// The softmax of some rows over some keys, unfinished: see AttentionPartial.
struct Partial {
  float* sums;  // [rows][value_stride]
  float* max;
  float* weight;
};
inline Partial PartialAt(float* memory, const KvLayout& kv, int64_t rows) {
  float* max = memory + rows * kv.value_stride;
  return {memory, max, max + rows};
}

// exp(x) within 2 ulp for x <= 0; 0 below -86.6, NaN for NaN.
// x = n ln2 + r; exp(r) times 2^n.
HWY_INLINE VF ExpOfNegative(VF x) {
  const DF d;
  const DI di;
  // Adding it rounds to an integer, which then stands in the lowest bits.
  const VF shifter = hn::Set(d, 12582912.0F);
  const VF shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896F), shifter);
  const VF n = hn::Sub(shifted, shifter);
  const VF p = ExpOfRest(x, n);
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const VF power = hn::BitCast(d, hn::Add(exponent, hn::Set(di, 127 << 23)));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -86.6F)), hn::Zero(d), hn::Mul(p, power));
}

struct SplitRef {
  const AttentionTask* task;
  int64_t split;
};

// The blocks of a split as this task's head sees them.
struct SplitHeads {
  const std::byte* at[kMaxSplitBlocks];
  int64_t blocks;

  SplitHeads(const AttentionParams& p, const SplitRef& ref) {
    const AttentionTask& task = *ref.task;
    const int64_t begin = ref.split * SplitBlocks(p.kv);
    const int64_t last_key = task.first_position + task.num_rows - 1;
    blocks = std::min(SplitBlocks(p.kv), last_key / p.kv.block_size + 1 - begin);
    for (int64_t b = 0; b < blocks; ++b) {
      at[b] = static_cast<const std::byte*>(p.cache) +
              task.block_table[begin + b] * p.kv.block_bytes + task.kv_head * p.kv.head_bytes;
    }
  }
};

// One task over one split, while `next` is fetched.
template <class T>
class SplitRunner {
 public:
  // `q`: the task's rows, kQueryStride apart.
  SplitRunner(const AttentionParams& p, const SplitRef& now, const float* q, const SplitRef& next)
      : p_(p),
        kv_(p.kv),
        task_(*now.task),
        q_(q),
        begin_(now.split * SplitKeys(p.kv)),
        heads_(p, now),
        next_(p, next),
        blocks_(heads_.blocks),
        rows_(task_.num_rows * task_.num_heads),
        first_token_(std::max<int64_t>(0, begin_ - task_.first_position)),
        first_row_(first_token_ * task_.num_heads) {}

  void Run(const Partial& out) {
    Score();
    for (int64_t r = first_row_; r < rows_; ++r) Weigh(r, out);
    if constexpr (kScaled<T>) ApplyValueScales();
    Mix(out);
  }

 private:
  int64_t ChunkBlocks() const { return std::max<int64_t>(1, kChunkSlots / kv_.token_stride); }
  const T* Keys(int64_t b) const { return reinterpret_cast<const T*>(heads_.at[b]); }
  const T* Values(int64_t b) const {
    return reinterpret_cast<const T*>(heads_.at[b] + kv_.value_bytes);
  }
  // What to fetch beside block b of a phase: the runs of the next split's blocks
  // are fetched in their order, the first half of each chunk while scoring and the
  // second while mixing.
  const T* Ahead(int64_t b, bool mixing) const {
    const int64_t chunk = ChunkBlocks();
    const int64_t half = b % chunk + (mixing ? chunk : 0);
    const int64_t block = std::min(b / chunk * chunk + half / 2, next_.blocks - 1);
    const std::byte* run = next_.at[block] + (half % 2 == 0 ? 0 : kv_.value_bytes);
    return reinterpret_cast<const T*>(run);
  }
  const float* Scales(int64_t b) const {
    return reinterpret_cast<const float*>(heads_.at[b] + kv_.scale_bytes);
  }

  struct ScoreBody {
    const float* q;
    const KeyChunk<T>& chunk;
    const KvLayout& kv;
    float scale;
    float* scores;
    template <int kRows, int kCount>
    HWY_INLINE void Run(int64_t row, int64_t vector) const {
      ScoreTile<kRows, kCount>(
          q + row * kQueryStride, chunk, vector, kv.token_stride, kv.head_dim, scale,
          scores + row * kScoreStride + vector * static_cast<int64_t>(LaneCount()));
    }
  };

  void Score() {
    const auto lanes = static_cast<int64_t>(LaneCount());
    const int64_t step = ChunkBlocks();
    for (int64_t begin = 0; begin < blocks_; begin += step) {
      KeyChunk<T> chunk;
      int64_t vectors = 0;
      const int64_t end = std::min(begin + step, blocks_);
      for (int64_t b = begin; b < end; ++b) {
        const T* ahead = Ahead(b, /*mixing=*/false);
        for (int64_t i = 0; i < kv_.token_stride; i += lanes) {
          chunk.keys[vectors] = Keys(b) + i;
          chunk.ahead[vectors] = ahead + i;
          if constexpr (kScaled<T>) chunk.scales[vectors] = Scales(b) + i;
          ++vectors;
        }
      }
      CoverTile(rows_ - first_row_, vectors,
                ScoreBody{q_ + first_row_ * kQueryStride, chunk, kv_, p_.scale,
                          scores_[first_row_] + begin * kv_.token_stride});
    }
  }

  // Turns the scores of a row into weights relative to its maximum.
  void Weigh(int64_t r, const Partial& out) {
    const DF d;
    const auto lanes = static_cast<int64_t>(LaneCount());
    float* scores = scores_[r];
    const int64_t slots = blocks_ * kv_.token_stride;
    const int64_t visible = task_.first_position + r / task_.num_heads + 1 - begin_;
    if (kv_.token_stride == kv_.block_size) {
      if (visible < slots) std::fill(scores + visible, scores + slots, kNone);
    } else {
      for (int64_t b = 0; b < blocks_; ++b) {
        const int64_t valid = std::clamp<int64_t>(visible - b * kv_.block_size, 0, kv_.block_size);
        std::fill(scores + b * kv_.token_stride + valid, scores + (b + 1) * kv_.token_stride,
                  kNone);
      }
    }
    VF max = hn::Set(d, kNone);
    for (int64_t i = 0; i < slots; i += lanes) max = hn::Max(max, hn::Load(d, scores + i));
    const VF shift = hn::MaxOfLanes(d, max);
    VF sum = hn::Zero(d);
    for (int64_t i = 0; i < slots; i += lanes) {
      const VF w = ExpOfNegative(hn::Sub(hn::Load(d, scores + i), shift));
      hn::Store(w, d, scores + i);
      sum = hn::Add(sum, w);
    }
    out.max[r] = hn::GetLane(shift);
    out.weight[r] = Sum(sum);
  }

  void ApplyValueScales() {
    const DF d;
    const auto lanes = static_cast<int64_t>(LaneCount());
    for (int64_t b = 0; b < blocks_; ++b) {
      const float* scales = Scales(b) + kv_.token_stride;
      for (int64_t i = 0; i < kv_.token_stride; i += lanes) {
        const VF scale = hn::LoadU(d, scales + i);
        for (int64_t r = first_row_; r < rows_; ++r) {
          float* weight = scores_[r] + b * kv_.token_stride + i;
          hn::Store(hn::Mul(hn::Load(d, weight), scale), d, weight);
        }
      }
    }
  }

  struct MixBody {
    const float* weights;
    const KvLayout& kv;
    const ValueChunk<T>& chunk;
    float* sums;
    template <int kRows, int kCount>
    HWY_INLINE void Run(int64_t row, int64_t vector) const {
      const int64_t offset = vector * static_cast<int64_t>(LaneCount());
      MixTile<kRows, kCount>(weights + row * kScoreStride, kv, chunk, offset,
                             sums + row * kv.value_stride + offset);
    }
  };

  // Adds blocks [begin, end), `last` tokens of the last, to rows [row, row_end).
  void MixBlocks(int64_t row, int64_t row_end, int64_t begin, int64_t end, int64_t last,
                 const Partial& out) {
    const T* values[kMaxChunkBlocks];
    const T* ahead[kMaxChunkBlocks];
    for (int64_t b = begin; b < end; ++b) {
      values[b - begin] = Values(b);
      ahead[b - begin] = Ahead(b, /*mixing=*/true);
    }
    const ValueChunk<T> chunk{values, ahead, end - begin, last};
    CoverTile(row_end - row, kv_.value_stride / static_cast<int64_t>(LaneCount()),
              MixBody{scores_[row] + begin * kv_.token_stride, kv_, chunk,
                      out.sums + row * kv_.value_stride});
  }

  void Mix(const Partial& out) {
    std::fill(out.sums + first_row_ * kv_.value_stride, out.sums + rows_ * kv_.value_stride, 0.0F);
    const int64_t size = kv_.block_size;
    const int64_t step = ChunkBlocks();
    for (int64_t begin = 0; begin < blocks_; begin += step) {
      const int64_t end = std::min(begin + step, blocks_);
      // Blocks that every row sees whole go together; on the diagonal each token
      // has its own count, for a key a row may not see must not touch it, not
      // even with weight zero.
      const int64_t seen = task_.first_position + first_token_ + 1 - begin_;
      const int64_t whole = std::clamp(seen / size, begin, end);
      if (whole > begin) MixBlocks(first_row_, rows_, begin, whole, size, out);
      for (int64_t token = first_token_; whole < end && token < task_.num_rows; ++token) {
        const int64_t rest = task_.first_position + token + 1 - begin_ - whole * size;
        if (rest <= 0) continue;
        const int64_t blocks = std::min(end - whole, (rest + size - 1) / size);
        MixBlocks(token * task_.num_heads, (token + 1) * task_.num_heads, whole, whole + blocks,
                  std::min(size, rest - (blocks - 1) * size), out);
      }
    }
  }

  const AttentionParams& p_;
  const KvLayout& kv_;
  const AttentionTask& task_;
  const float* q_;
  const int64_t begin_;  // first key
  const SplitHeads heads_;
  const SplitHeads next_;
  const int64_t blocks_;
  const int64_t rows_;
  // Tokens before the split see nothing of it.
  const int64_t first_token_;
  const int64_t first_row_;
  alignas(64) float scores_[kMaxAttentionRows][kScoreStride];
};

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
