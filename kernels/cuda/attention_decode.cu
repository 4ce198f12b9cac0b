// Attention of few rows of a sequence over many keys. A block takes a tile of 16 rows
// (tokens times query heads of a kv head) and one split of 256 keys, or all of them.
// Scores: each warp 16 of the tile's 64 keys. Weights go through shared memory. Values:
// each warp every fourth group of 8 dimensions. The last block to bring its split joins
// them all, in order. Two stages of cp.async; up to three blocks run on a multiprocessor.
#include "cuda/attention_tile.h"
#include "cuda/code.h"

namespace inferd::cuda {
namespace {

constexpr int kGroups = kMaxTensorHeadDim / 8 / kAttentionWarps;  // of 8 dimensions, a warp's
constexpr int kRows = kDecodeTileRows;
constexpr int kBlocks = 3;        // on a multiprocessor: 170 registers a thread
constexpr int kJoinedAtOnce = 4;  // splits that the last block reads before it joins them

struct DecodeLayout {
  int32_t weights;         // [terms][16][64] bf16
  int32_t scaled_weights;  // times the values' scales; the same where there are none
  int32_t maxima;          // [warps][16] f32
  int32_t end;
};
SIMT_HOST_DEVICE DecodeLayout DecodeLayoutOf(const AttentionParams& p, const AttentionLayout& l) {
  const int32_t weight_bytes = p.terms * kRows * kWeightRowBytes;
  DecodeLayout d;
  d.weights = l.rest;
  d.scaled_weights = d.weights + (p.kv.type == KvType::kInt8 ? weight_bytes : 0);
  d.maxima = d.scaled_weights + weight_bytes;
  d.end = d.maxima + kAttentionWarps * kRows * 4;
  return d;
}

// Softmax of rows g and g + 8 of the tile, g = lane / 4; the warp's dimensions.
struct State {
  float max[2];
  float sums[4];  // [0] of row g, [2] of row g + 8
  float out[kGroups][4];
};
SIMT_DEVICE void Clear(State& s) {
  SIMT_UNROLL
  for (int i = 0; i < 2; ++i) s.max[i] = MinusInfinity();
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) s.sums[i] = 0;
  SIMT_UNROLL
  for (int n = 0; n < kGroups; ++n) {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) s.out[n][i] = 0;
  }
}

// Adds 64 keys from first_key on. `positions`: of rows g and g + 8, -1 for none.
template <int kTerms>
SIMT_DEVICE void AddTile(const AttentionParams& p, const AttentionLayout& l, const DecodeLayout& dl,
                         unsigned char* shared, const Tile& tile, int32_t first_key,
                         const int32_t (&positions)[2], State& s) {
  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const bool scaled = p.kv.type == KvType::kInt8;
  auto* const maxima = reinterpret_cast<float*>(shared + dl.maxima);
  const int32_t own_keys = 16 * warp;

  float scores[2][4];
  Scores<kTerms>(p, l, shared + l.queries, kRows * l.row_bytes, tile.keys, own_keys, scores);
  const float factor = p.scale * p.kv.key_scale * 1.44269504F;  // to base 2
  float max[2] = {MinusInfinity(), MinusInfinity()};
  SIMT_UNROLL
  for (int n = 0; n < 2; ++n) {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int32_t key = own_keys + 8 * n + 2 * t + i % 2;
      float score = scores[n][i] * factor;
      if (scaled) score *= tile.key_scales[key];
      scores[n][i] = first_key + key <= positions[i / 2] ? score : MinusInfinity();
      max[i / 2] = fmaxf(max[i / 2], scores[n][i]);
    }
  }
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    max[r] = fmaxf(max[r], ShflXor(max[r], 1));
    max[r] = fmaxf(max[r], ShflXor(max[r], 2));
    if (t == 0) maxima[warp * kRows + g + 8 * r] = max[r];
  }
  SyncThreads();
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    max[r] = s.max[r];
    SIMT_UNROLL
    for (int w = 0; w < kAttentionWarps; ++w) {
      max[r] = fmaxf(max[r], maxima[w * kRows + g + 8 * r]);
    }
  }
  const float zero[2] = {Reference(max[0]), Reference(max[1])};
  const float keep[2] = {FastExp2(s.max[0] - zero[0]), FastExp2(s.max[1] - zero[1])};
  SIMT_UNROLL
  for (int n = 0; n < 2; ++n) {
    SIMT_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int32_t key = own_keys + 8 * n + 2 * t;
      const float w0 = FastExp2(scores[n][2 * r] - zero[r]);
      const float w1 = FastExp2(scores[n][2 * r + 1] - zero[r]);
      const auto store = [&](int32_t at, float x0, float x1) {
        float terms0[kTerms];
        float terms1[kTerms];
        SplitTerms<kTerms>(x0, terms0);
        SplitTerms<kTerms>(x1, terms1);
        SIMT_UNROLL
        for (int i = 0; i < kTerms; ++i) {
          *reinterpret_cast<uint32_t*>(shared + at + (i * kRows + g + 8 * r) * kWeightRowBytes +
                                       2 * key) = Pack2<Bf16>(terms0[i], terms1[i]);
        }
      };
      store(dl.weights, w0, w1);
      if (scaled) {
        // Not to be fused with what follows: prefill is to have the same bits.
        store(dl.scaled_weights, ExactMultiply(w0, tile.value_scales[key]),
              ExactMultiply(w1, tile.value_scales[key + 1]));
      }
    }
  }
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    s.max[r] = max[r];
    s.sums[2 * r] *= keep[r];
    s.sums[2 * r + 1] *= keep[r];
  }
  SIMT_UNROLL
  for (int n = 0; n < kGroups; ++n) {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) s.out[n][i] *= keep[i / 2];
  }
  SyncThreads();

  const uint32_t ones[2] = {0x3F803F80U, 0x3F803F80U};
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {  // of the keys
    uint32_t a[2][kTerms][4];             // [16 keys][term]
    SIMT_UNROLL
    for (int i = 0; i < 2 * kTerms; ++i) {
      const int32_t at = (i % kTerms * kRows + lane % 16) * kWeightRowBytes +
                         2 * (32 * half + 16 * (i / kTerms)) + lane / 16 * 16;
      LoadMatrices4(a[i / kTerms][i % kTerms], shared + dl.weights + at);
      Mma16<Bf16>(s.sums, a[i / kTerms][i % kTerms], ones);
      if (scaled) LoadMatrices4(a[i / kTerms][i % kTerms], shared + dl.scaled_weights + at);
    }
    SIMT_UNROLL
    for (int n = 0; n < kGroups; ++n) {
      const int32_t group = warp + kAttentionWarps * n;
      if (8 * group >= p.kv.head_dim) continue;
      uint32_t b[4];
      LoadMatrices4Transposed(b, tile.values + (32 * half + lane) * l.row_bytes + 16 * group);
      SIMT_UNROLL
      for (int i = 0; i < 2; ++i) {
        const uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
        SIMT_UNROLL
        for (int term = 0; term < kTerms; ++term) Mma16<Bf16>(s.out[n], a[i][term], pair);
      }
    }
  }
}

// total becomes the softmax of total and split; the first is taken as it is.
SIMT_DEVICE void Add(State& total, const State& split, bool first) {
  if (first) {
    total = split;
    return;
  }
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Join join = JoinSplit(total.max[r], split.max[r], split.sums[2 * r]);
    total.sums[2 * r] = Joined(join, total.sums[2 * r], split.sums[2 * r]);
    SIMT_UNROLL
    for (int n = 0; n < kGroups; ++n) {
      SIMT_UNROLL
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        total.out[n][i] = Joined(join, total.out[n][i], split.out[n][i]);
      }
    }
  }
}

// A tile's place in the step.
struct TileRows {
  int32_t token;     // the sequence's first row of activations
  int32_t first;     // of the sequence's rows of the kv head
  int32_t num_rows;  // of the tile: up to 16
};

SIMT_DEVICE float* PartialRow(const AttentionParams& p, const DecodeItem& item, int32_t head,
                              int32_t num_rows, int32_t split, int32_t row) {
  const int64_t at =
      int64_t{head} * p.max_partial_rows + item.partial_row + int64_t{split} * num_rows + row;
  return p.partials + at * (p.kv.head_dim + 2);
}

// Calls use(row of the tile, which of its state's rows) for the lane's rows.
template <class Use>
SIMT_DEVICE void ForRows(const TileRows& rows, Use use) {
  const auto g = static_cast<int32_t>(Lane() / 4);
  SIMT_UNROLL
  for (int r = 0; r < 2; ++r) {
    if (g + 8 * r < rows.num_rows) use(g + 8 * r, r);
  }
}
// Calls use(dimension, n) for the lane's pairs of dimensions.
template <class Use>
SIMT_DEVICE void ForDimensions(const AttentionParams& p, Use use) {
  SIMT_UNROLL
  for (int n = 0; n < kGroups; ++n) {
    const auto d = static_cast<int32_t>(8 * (Warp() + kAttentionWarps * n) + 2 * (Lane() % 4));
    if (d < p.kv.head_dim) use(d, n);
  }
}

SIMT_DEVICE void StoreOut(const AttentionParams& p, const TileRows& rows, int32_t head,
                          const State& s) {
  const int32_t group = p.num_q_heads / p.kv.num_kv_heads;
  ForRows(rows, [&](int32_t row, int r) {
    const int32_t flat = rows.first + row;
    const int64_t column = int64_t{head * group + flat % group} * p.kv.head_dim;
    ForDimensions(p, [&](int32_t d, int n) {
      const float pair[2] = {s.out[n][2 * r] / s.sums[2 * r] * p.kv.value_scale,
                             s.out[n][2 * r + 1] / s.sums[2 * r] * p.kv.value_scale};
      StoreColumns<2>(p.out, rows.token + flat / group, column + d, pair);
    });
  });
}

// All splits of the tile in their order. Several are read before the first of them is joined:
// their way from the level-2 cache is most of the time this takes.
SIMT_DEVICE void JoinSplits(const AttentionParams& p, const DecodeItem& item, const TileRows& rows,
                            int32_t head, State& total) {
  Clear(total);
  State splits[kJoinedAtOnce];
  for (int32_t first = 0; first < item.num_splits; first += kJoinedAtOnce) {
    SIMT_UNROLL
    for (int i = 0; i < kJoinedAtOnce; ++i) {
      Clear(splits[i]);
      if (first + i >= item.num_splits) continue;
      ForRows(rows, [&](int32_t row, int r) {
        const float* const from = PartialRow(p, item, head, rows.num_rows, first + i, row);
        ForDimensions(p, [&](int32_t d, int n) {
          splits[i].out[n][2 * r] = LoadFromBlocks(from + d);
          splits[i].out[n][2 * r + 1] = LoadFromBlocks(from + d + 1);
        });
        splits[i].max[r] = LoadFromBlocks(from + p.kv.head_dim);
        splits[i].sums[2 * r] = LoadFromBlocks(from + p.kv.head_dim + 1);
      });
    }
    SIMT_UNROLL
    for (int i = 0; i < kJoinedAtOnce; ++i) {
      if (first + i < item.num_splits) Add(total, splits[i], first + i == 0);
    }
  }
}

// Brings the block's split; the last to come joins all and writes the rows.
SIMT_DEVICE void BringSplit(const AttentionParams& p, const DecodeItem& item, const TileRows& rows,
                            int32_t head, State& s, int32_t& shared_flag) {
  ForRows(rows, [&](int32_t row, int r) {
    float* const to = PartialRow(p, item, head, rows.num_rows, item.split, row);
    ForDimensions(p, [&](int32_t d, int n) {
      to[d] = s.out[n][2 * r];
      to[d + 1] = s.out[n][2 * r + 1];
    });
    if (Warp() == 0 && Lane() % 4 == 0) {
      to[p.kv.head_dim] = s.max[r];
      to[p.kv.head_dim + 1] = s.sums[2 * r];
    }
  });
  ThreadFence();
  SyncThreads();
  int32_t* const arrivals = p.arrivals + int64_t{item.group} * p.kv.num_kv_heads + head;
  if (ThreadX() == 0) {
    ThreadFence();  // also for what the other threads wrote
    const bool last = AtomicAdd(arrivals, 1) == item.num_splits - 1;
    if (last) *arrivals = 0;  // for the next layer
    ThreadFence();
    shared_flag = last ? 1 : 0;
  }
  SyncThreads();
  if (shared_flag == 0) return;
  ThreadFence();
  JoinSplits(p, item, rows, head, s);
  StoreOut(p, rows, head, s);
}

template <int kTerms>
SIMT_KERNEL_BLOCKS(kAttentionThreads, kBlocks)
DecodeKernel(AttentionParams p) {
  SIMT_DYNAMIC_SHARED(shared);
  SIMT_SHARED(last, int32_t);
  const AttentionLayout l = LayoutOf(p, kRows, kDecodeStages);
  const DecodeLayout dl = DecodeLayoutOf(p, l);
  const int32_t group = p.num_q_heads / p.kv.num_kv_heads;
  ReleaseSuccessor();
  WaitForPredecessor();
  const int32_t units = p.counts->num_decode * p.kv.num_kv_heads;
  for (auto unit = static_cast<int32_t>(BlockX()); unit < units;
       unit += static_cast<int32_t>(GridDimX())) {
    const DecodeItem item = p.decode[unit / p.kv.num_kv_heads];
    const int32_t head = unit % p.kv.num_kv_heads;
    if (item.num_splits == 0) continue;
    const int32_t token = p.row_start[item.sequence];
    const int32_t tokens = p.row_start[item.sequence + 1] - token;
    const int32_t context = p.context_len[item.sequence];
    const int32_t rest = tokens * group - item.tile * kRows;
    const TileRows rows = {token, item.tile * kRows, rest < kRows ? rest : kRows};
    const int32_t begin = item.split < 0 ? 0 : item.split * kSplitKeys;
    const int32_t split_end = (item.split + 1) * kSplitKeys;
    const int32_t end = item.split < 0 || context < split_end ? context : split_end;
    int32_t positions[2];
    SIMT_UNROLL
    for (int r = 0; r < 2; ++r) {
      const auto row = static_cast<int32_t>(Lane() / 4) + 8 * r;
      positions[r] = row < rows.num_rows ? context - tokens + (rows.first + row) / group : -1;
    }

    SyncThreads();  // the unit before has read its shared memory
    CopyTile(p, l, shared, item.sequence, head, begin, end);
    LoadQueries<kTerms>(p, l, shared, token, head, rows.first, tokens * group, kRows);
    State total;
    State split;
    Clear(total);
    Clear(split);
    int32_t tiles = 0;
    for (int32_t key = begin; key < end; key += kTileKeys, ++tiles) {
      unsigned char* const next = shared + (tiles + 1) % kDecodeStages * l.stage_bytes;
      if (key + kTileKeys < end) {
        CopyTile(p, l, next, item.sequence, head, key + kTileKeys, end);
      } else {
        CommitCopies();
      }
      const Tile tile = TakeTile(p, l, shared, shared + tiles % kDecodeStages * l.stage_bytes);
      AddTile<kTerms>(p, l, dl, shared, tile, key, positions, split);
      if ((tiles + 1) % kSplitTiles == 0 || key + kTileKeys >= end) {
        Add(total, split, tiles < kSplitTiles);
        Clear(split);
      }
      SyncThreads();  // the stage may be overwritten
    }
    if (item.split < 0) {
      StoreOut(p, rows, head, total);
    } else {
      BringSplit(p, item, rows, head, total, last);
    }
  }
}

}  // namespace

int32_t DecodeSharedBytes(const AttentionParams& p) {
  return DecodeLayoutOf(p, LayoutOf(p, kRows, kDecodeStages)).end;
}

int32_t DecodeBlocks(const AttentionParams& p) {
  const int32_t fit = BlocksThatFit(p, DecodeSharedBytes(p));
  return fit < kBlocks ? fit : kBlocks;
}

int DecodeAttention(const AttentionParams& p, Stream stream) {
  if (!TensorAttentionFits(p)) return kBadArguments;
  return Launch(p.terms == 1 ? DecodeKernel<1> : DecodeKernel<3>,
                {.grid = {static_cast<unsigned>(p.multiprocessors * DecodeBlocks(p))},
                 .block = {kAttentionThreads},
                 .shared_bytes = static_cast<size_t>(DecodeSharedBytes(p)),
                 .early = true},
                stream, p);
}

int code::LoadAttentionDecode() { return LoadKernels(DecodeKernel<1>, DecodeKernel<3>); }

}  // namespace inferd::cuda
