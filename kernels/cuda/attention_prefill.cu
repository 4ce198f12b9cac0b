// Attention of many rows of a sequence. A block takes 64 rows (tokens times query heads
// of a kv head), a warp 16 of them, and goes over the keys in tiles of 64 that all warps
// share. Weights stay in registers. After each split of 256 keys its softmax is joined
// to the running one, which lies in shared memory, a word a lane: that is what decode
// blocks do with their splits. One or two stages of cp.async.
#include "cuda/attention_tile.h"
#include "cuda/code.h"

namespace inferd::cuda {
namespace {

constexpr int kRows = kPrefillTileRows;
constexpr int kBlocks = 2;                         // on a multiprocessor: 255 registers a thread
constexpr int kMaxGroups = kMaxTensorHeadDim / 8;  // of 8 dimensions
constexpr int kKeyGroups = kTileKeys / 8;

struct State {
  float max[2];
  float sums[4];
  float out[kMaxGroups][4];
};
SIMT_DEVICE void Clear(State& s) {
  SIMT_UNROLL
  for (int i = 0; i < 2; ++i) s.max[i] = MinusInfinity();
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) s.sums[i] = 0;
  SIMT_UNROLL
  for (int n = 0; n < kMaxGroups; ++n) {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) s.out[n][i] = 0;
  }
}

template <int kTerms>
SIMT_DEVICE void AddTile(const AttentionParams& p, const AttentionLayout& l,
                         const unsigned char* queries, const Tile& tile, int32_t first_key,
                         const int32_t (&positions)[2], State& s) {
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t t = lane % 4;
  const bool scaled = p.kv.type == KvType::kInt8;
  const float factor = p.scale * p.kv.key_scale * 1.44269504F;  // to base 2
  float scores[kKeyGroups / 2][2][4];
  float max[2] = {s.max[0], s.max[1]};
  SIMT_UNROLL
  for (int pair = 0; pair < kKeyGroups / 2; ++pair) {
    Scores<kTerms>(p, l, queries, kRows * l.row_bytes, tile.keys, 16 * pair, scores[pair]);
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int32_t key = 16 * pair + 8 * (i / 4) + 2 * t + i % 2;
      float score = scores[pair][i / 4][i % 4] * factor;
      if (scaled) score *= tile.key_scales[key];
      const int r = i % 4 / 2;
      score = first_key + key <= positions[r] ? score : MinusInfinity();
      scores[pair][i / 4][i % 4] = score;
      max[r] = fmaxf(max[r], score);
    }
  }
  float zero[2];
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    max[r] = fmaxf(max[r], ShflXor(max[r], 1));
    max[r] = fmaxf(max[r], ShflXor(max[r], 2));
    zero[r] = Reference(max[r]);
    const float keep = FastExp2(s.max[r] - zero[r]);
    s.max[r] = max[r];
    s.sums[2 * r] *= keep;
    s.sums[2 * r + 1] *= keep;
    SIMT_UNROLL
    for (int n = 0; n < kMaxGroups; ++n) {
      s.out[n][2 * r] *= keep;
      s.out[n][2 * r + 1] *= keep;
    }
  }
  const uint32_t ones[2] = {0x3F803F80U, 0x3F803F80U};
  SIMT_UNROLL
  for (int pair = 0; pair < kKeyGroups / 2; ++pair) {
    // The scores' fragment of D is a fragment of A: words (g; low), (g + 8; low), (g; high),
    // (g + 8; high).
    uint32_t a[kTerms][4];
    const auto pack = [&](bool with_scales) {
      SIMT_UNROLL
      for (int w = 0; w < 4; ++w) {
        float x[2];
        SIMT_UNROLL
        for (int i = 0; i < 2; ++i) {
          x[i] = FastExp2(scores[pair][w / 2][w % 2 * 2 + i] - zero[w % 2]);
          if (with_scales) {
            x[i] = ExactMultiply(x[i], tile.value_scales[16 * pair + w / 2 * 8 + 2 * t + i]);
          }
        }
        float low[kTerms];
        float high[kTerms];
        SplitTerms<kTerms>(x[0], low);
        SplitTerms<kTerms>(x[1], high);
        SIMT_UNROLL
        for (int term = 0; term < kTerms; ++term) a[term][w] = Pack2<Bf16>(low[term], high[term]);
      }
    };
    pack(false);
    SIMT_UNROLL
    for (int term = 0; term < kTerms; ++term) Mma16<Bf16>(s.sums, a[term], ones);
    if (scaled) pack(true);
    const unsigned char* const v =
        tile.values + (16 * pair + lane % 16) * l.row_bytes + lane / 16 * 16;
    SIMT_UNROLL
    for (int n = 0; n < kMaxGroups; n += 2) {
      if (8 * n >= p.kv.head_dim) continue;
      uint32_t b[4];
      LoadMatrices4Transposed(b, v + 16 * n);
      const uint32_t b0[2] = {b[0], b[1]};
      const uint32_t b1[2] = {b[2], b[3]};
      SIMT_UNROLL
      for (int term = 0; term < kTerms; ++term) {
        Mma16<Bf16>(s.out[n], a[term], b0);
        Mma16<Bf16>(s.out[n + 1], a[term], b1);
      }
    }
  }
}

// The running softmax; its values in shared memory at [group][4][lane] of the warp.
struct Total {
  float max[2];
  float sums[2];
  float* out;
};

SIMT_DEVICE void Add(const AttentionParams& p, Total& total, const State& split, bool first) {
  Join join[2];
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    if (first) {
      total.max[r] = split.max[r];
      total.sums[r] = split.sums[2 * r];
      continue;
    }
    join[r] = JoinSplit(total.max[r], split.max[r], split.sums[2 * r]);
    total.sums[r] = Joined(join[r], total.sums[r], split.sums[2 * r]);
  }
  SIMT_UNROLL
  for (int n = 0; n < kMaxGroups; ++n) {
    if (8 * n >= p.kv.head_dim) continue;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      float& out = total.out[(4 * n + i) * 32 + static_cast<int>(Lane())];
      out = first ? split.out[n][i] : Joined(join[i / 2], out, split.out[n][i]);
    }
  }
}

template <int kTerms>
SIMT_KERNEL_BLOCKS(kAttentionThreads, kBlocks)
PrefillKernel(AttentionParams p) {
  SIMT_DYNAMIC_SHARED(shared);
  // Three terms leave no registers for the choice.
  const int32_t stages = kTerms == 1 ? p.prefill_stages : 2;
  const AttentionLayout l = LayoutOf(p, kRows, stages);
  const int32_t group = p.num_q_heads / p.kv.num_kv_heads;
  const auto warp = static_cast<int32_t>(Warp());
  ReleaseSuccessor();
  WaitForPredecessor();
  const int32_t units = p.counts->num_prefill * p.kv.num_kv_heads;
  for (auto unit = static_cast<int32_t>(BlockX()); unit < units;
       unit += static_cast<int32_t>(GridDimX())) {
    const PrefillItem item = p.prefill[unit / p.kv.num_kv_heads];
    const int32_t head = unit % p.kv.num_kv_heads;
    const int32_t token = p.row_start[item.sequence];
    const int32_t tokens = p.row_start[item.sequence + 1] - token;
    const int32_t num_rows = tokens * group;
    const int32_t first = item.tile * kRows;
    const int32_t past = p.context_len[item.sequence] - tokens;
    const int32_t last_row = first + kRows < num_rows ? first + kRows - 1 : num_rows - 1;
    const int32_t end = past + last_row / group + 1;
    int32_t flat[2];
    int32_t positions[2];
    SIMT_UNROLL
    for (int r = 0; r < 2; ++r) {
      flat[r] = first + 16 * warp + static_cast<int32_t>(Lane() / 4) + 8 * r;
      positions[r] = flat[r] < num_rows ? past + flat[r] / group : -1;
    }

    SyncThreads();  // the unit before has read its shared memory
    CopyTile(p, l, shared, item.sequence, head, 0, end);
    LoadQueries<kTerms>(p, l, shared, token, head, first, num_rows, kRows);
    Total total;
    total.out = reinterpret_cast<float*>(shared + l.rest) + warp * 16 * p.kv.head_dim;
    State split;
    Clear(split);
    int32_t tiles = 0;
    for (int32_t key = 0; key < end; key += kTileKeys, ++tiles) {
      const auto copy_next = [&](int32_t to) {
        if (key + kTileKeys < end) {
          CopyTile(p, l, shared + to, item.sequence, head, key + kTileKeys, end);
        } else {
          CommitCopies();
        }
      };
      // With one stage both are the first.
      const int32_t other = (stages - 1) * l.stage_bytes;
      if (stages > 1) copy_next(tiles % 2 == 0 ? other : 0);
      const Tile tile = TakeTile(p, l, shared, shared + (tiles % 2 == 0 ? 0 : other));
      AddTile<kTerms>(p, l, shared + l.queries + 16 * warp * l.row_bytes, tile, key, positions,
                      split);
      if ((tiles + 1) % kSplitTiles == 0 || key + kTileKeys >= end) {
        Add(p, total, split, tiles < kSplitTiles);
        Clear(split);
      }
      SyncThreads();  // the stage may be overwritten
      if (stages == 1) copy_next(0);
    }
    SIMT_UNROLL
    for (int r = 0; r < 2; ++r) {
      if (flat[r] >= num_rows) continue;
      const int64_t column = int64_t{head * group + flat[r] % group} * p.kv.head_dim;
      for (int32_t n = 0; 8 * n < p.kv.head_dim; ++n) {
        float pair[2];
        SIMT_UNROLL
        for (int i = 0; i < 2; ++i) {
          const float value = total.out[(4 * n + 2 * r + i) * 32 + static_cast<int>(Lane())];
          pair[i] = value / total.sums[r] * p.kv.value_scale;
        }
        StoreColumns<2>(p.out, token + flat[r] / group,
                        column + 8 * n + 2 * static_cast<int32_t>(Lane() % 4), pair);
      }
    }
  }
}

int32_t PrefillSharedBytes(const AttentionParams& p, int32_t stages) {
  return LayoutOf(p, kRows, stages).rest + kRows * p.kv.head_dim * 4;
}

// Two blocks of one stage each hide more of each other's waits than one block of four warps
// does with two stages; where only one fits, it has two if they do.
int32_t PrefillStages(const AttentionParams& p) {
  if (p.terms > 1) return 2;
  const int32_t most = BlocksThatFit(p, PrefillSharedBytes(p, 1));
  const int32_t with_two = BlocksThatFit(p, PrefillSharedBytes(p, 2));
  return with_two >= (most < kBlocks ? most : kBlocks) ? 2 : 1;
}

}  // namespace

bool TensorAttentionFits(const AttentionParams& p) {
  const Rows& q = p.qkv;
  // Two neighbouring numbers are read, and written, at once.
  const bool aligned = q.stride % 2 == 0 && reinterpret_cast<uintptr_t>(q.data) % 8 == 0 &&
                       p.out.stride % 2 == 0 && reinterpret_cast<uintptr_t>(p.out.data) % 8 == 0;
  return aligned && (p.terms == 1 || p.terms == 3) && p.kv.type != KvType::kF32 &&
         p.kv.head_dim % 16 == 0 && p.kv.head_dim <= kMaxTensorHeadDim &&
         p.kv.block_bytes % 16 == 0 && p.num_q_heads % p.kv.num_kv_heads == 0 &&
         PrefillSharedBytes(p, PrefillStages(p)) <= p.max_shared_bytes &&
         DecodeSharedBytes(p) <= p.max_shared_bytes;
}

int32_t PrefillBlocks(const AttentionParams& p) {
  const int32_t fit = BlocksThatFit(p, PrefillSharedBytes(p, PrefillStages(p)));
  return fit < kBlocks ? fit : kBlocks;
}

int PrefillAttention(const AttentionParams& params, Stream stream) {
  if (!TensorAttentionFits(params)) return kBadArguments;
  AttentionParams p = params;
  p.prefill_stages = PrefillStages(p);
  return Launch(p.terms == 1 ? PrefillKernel<1> : PrefillKernel<3>,
                {.grid = {static_cast<unsigned>(p.multiprocessors * PrefillBlocks(p))},
                 .block = {kAttentionThreads},
                 .shared_bytes = static_cast<size_t>(PrefillSharedBytes(p, p.prefill_stages)),
                 .early = true},
                stream, p);
}

int code::LoadAttentionPrefill() { return LoadKernels(PrefillKernel<1>, PrefillKernel<3>); }

}  // namespace inferd::cuda
