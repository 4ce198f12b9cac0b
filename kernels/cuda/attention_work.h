// Which blocks of attention do what in a step, made once a step on the device and
// shared by its layers. Nothing in it decides a result: every row's sum is taken over
// splits of kSplitKeys keys in their order, whoever computes them.
#pragma once

#include <cstdint>

#include "cuda/launch.h"
#include "cuda/simt.h"

namespace inferd::cuda {

inline constexpr int32_t kSplitKeys = 256;
// A row of attention is a (token, query head) pair of one kv head: rows of a sequence
// are numbered token * group + head. A tile of a decode item has kDecodeTileRows of
// them, one of a prefill item kPrefillTileRows.
inline constexpr int32_t kDecodeTileRows = 16;
inline constexpr int32_t kPrefillTileRows = 64;
// Sequences with more rows in the step are prefilled.
inline constexpr int32_t kMaxDecodeRows = 32;

struct DecodeItem {
  int32_t sequence;
  int32_t tile;
  int32_t split;        // -1: all of them, one after another
  int32_t num_splits;   // of the tile
  int32_t group;        // the tiles that are split, counted
  int32_t partial_row;  // split s writes rows partial_row + s * (rows of the tile) on
};
struct PrefillItem {
  int32_t sequence;
  int32_t tile;
};
struct AttentionCounts {
  int32_t num_decode = 0;
  int32_t num_prefill = 0;
};

struct AttentionWorkParams {
  const int32_t* row_start = nullptr;    // [num_sequences + 1]
  const int32_t* context_len = nullptr;  // [num_sequences]; 0: padding
  int32_t num_sequences = 0;
  int32_t group = 1;  // query heads to a kv head
  int32_t num_kv_heads = 1;
  int32_t num_blocks = 1;  // that keep the device busy: how far splitting pays
  // Room. Tiles that do not fit the partial rows are not split.
  int32_t max_decode = 0;
  int32_t max_prefill = 0;
  int32_t max_partial_rows = 0;
  AttentionCounts* counts = nullptr;
  DecodeItem* decode = nullptr;    // [max_decode]
  PrefillItem* prefill = nullptr;  // [max_prefill]
};

// One block of 256 threads; a few microseconds.
int BuildAttentionWork(const AttentionWorkParams& params, Stream stream);
// The same on host memory, in plain order.
void BuildAttentionWorkOnHost(const AttentionWorkParams& params);

// Room that is always enough for sequences of up to `max_context` tokens with up to
// `max_rows` rows of activations in a step.
int64_t MaxDecodeItems(int32_t max_sequences, int64_t max_context);
int64_t MaxPrefillItems(int32_t max_sequences, int64_t max_rows, int32_t group);

// ---- what both builders are made of ----

struct SequenceWork {
  int32_t decode_tiles;
  int32_t prefill_tiles;
  int32_t splits;
  int32_t rows;
};
SIMT_HOST_DEVICE SequenceWork DescribeSequence(const AttentionWorkParams& p, int32_t sequence) {
  const int32_t context = p.context_len[sequence];
  const int32_t tokens = p.row_start[sequence + 1] - p.row_start[sequence];
  if (context == 0 || tokens == 0) return {0, 0, 0, 0};
  const int32_t rows = tokens * p.group;
  const int32_t splits = (context + kSplitKeys - 1) / kSplitKeys;
  if (rows > kMaxDecodeRows) {
    return {0, (rows + kPrefillTileRows - 1) / kPrefillTileRows, splits, rows};
  }
  return {(rows + kDecodeTileRows - 1) / kDecodeTileRows, 0, splits, rows};
}

// Splits a block may have to itself; tiles with no more are not divided.
SIMT_HOST_DEVICE int32_t SplitQuota(const AttentionWorkParams& p, int64_t total_splits) {
  const int64_t quota = total_splits * p.num_kv_heads / p.num_blocks;
  return quota < 1 ? 1 : static_cast<int32_t>(quota);
}

// Counts before a sequence, and its own.
struct WorkOffsets {
  int32_t decode;
  int32_t prefill;
  int32_t groups;
  int32_t partial_rows;
};
SIMT_HOST_DEVICE bool IsDivided(const SequenceWork& work, int32_t quota) {
  return work.decode_tiles > 0 && work.splits > quota;
}
SIMT_HOST_DEVICE WorkOffsets CountWork(const SequenceWork& work, int32_t quota) {
  const bool divided = IsDivided(work, quota);
  return {work.decode_tiles * (divided ? work.splits : 1), work.prefill_tiles,
          divided ? work.decode_tiles : 0, divided ? work.rows * work.splits : 0};
}
// Writes the sequence's items; those past the room are left out. A sequence whose
// partial rows have no room keeps its number of items: of those that would be its
// splits all but the first have nothing to do (num_splits 0).
SIMT_HOST_DEVICE void WriteWork(const AttentionWorkParams& p, int32_t sequence,
                                const SequenceWork& work, int32_t quota, WorkOffsets at) {
  bool divided = IsDivided(work, quota);
  const int32_t items = divided ? work.splits : 1;
  if (divided && int64_t{at.partial_rows} + int64_t{work.rows} * work.splits > p.max_partial_rows) {
    divided = false;
  }
  for (int32_t tile = 0; tile < work.decode_tiles; ++tile) {
    const int32_t rest = work.rows - tile * kDecodeTileRows;
    const int32_t rows = rest < kDecodeTileRows ? rest : kDecodeTileRows;
    for (int32_t i = 0; i < items; ++i) {
      const int32_t slot = at.decode++;
      if (slot >= p.max_decode) continue;
      if (divided) {
        p.decode[slot] = {sequence, tile, i, work.splits, at.groups, at.partial_rows};
      } else {
        p.decode[slot] = {sequence, tile, -1, i == 0 ? work.splits : 0, 0, 0};
      }
    }
    if (divided) {
      ++at.groups;
      at.partial_rows += rows * work.splits;
    }
  }
  // Later tiles see more keys: they go first.
  for (int32_t tile = work.prefill_tiles - 1; tile >= 0; --tile) {
    const int32_t slot = at.prefill++;
    if (slot < p.max_prefill) p.prefill[slot] = {sequence, tile};
  }
}

}  // namespace inferd::cuda
