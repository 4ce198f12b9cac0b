// What products share that read x once for 64 outputs: a warp's weights and rows go through
// stages of shared memory of its own, by cp.async. Registers would not hold them.
#pragma once

#include "cuda/async_copy.h"
#include "cuda/linear_warps.h"
#include "cuda/vec.h"

namespace inferd::cuda {

inline constexpr int kStagedRowTiles = 4;  // of 16 outputs
inline constexpr int kStagedOutputs = 16 * kStagedRowTiles;

// Bytes of shared memory for as many stages as a block may have, at most three; 0 for fewer than
// two. `stage_bytes`: of a warp.
inline int32_t StagedBytes(int32_t stage_bytes, int32_t max_shared_bytes) {
  for (int stages = 3; stages >= 2; --stages) {
    const int32_t bytes = kLinearWarps * stages * stage_bytes;
    if (bytes <= max_shared_bytes) return bytes;
  }
  return 0;
}

// The block's tile of 64 outputs by kRows rows. Tiles of the same outputs are neighbours, so that
// their weights come from memory once.
struct StagedTile {
  int32_t first_output;
  int32_t first_row;
};
template <int kRows>
SIMT_DEVICE StagedTile TileOf(int32_t rows) {
  const int32_t row_tiles = (rows + kRows - 1) / kRows;
  const auto block = static_cast<int32_t>(BlockX());
  return {block / row_tiles * kStagedOutputs, block % row_tiles * kRows};
}

// Launches the kernel of two stages or that of three, for tiles of 8 kBatchTiles rows and
// stages of kStageBytes; Sum is what AddWarps adds.
template <class Sum, int kBatchTiles, int kStageBytes, class Params>
int LaunchStaged(void (*two)(Params), void (*three)(Params), int32_t max_shared_bytes,
                 Stream stream, const Params& params) {
  LaunchShape shape =
      LinearWarpsShape<Sum, kStagedRowTiles, kBatchTiles>(params.outputs, params.rows);
  shape.grid = {shape.grid.x * shape.grid.y};
  const auto bytes = static_cast<size_t>(StagedBytes(kStageBytes, max_shared_bytes));
  if (bytes > shape.shared_bytes) shape.shared_bytes = bytes;
  return Launch(bytes == size_t{kLinearWarps} * 3 * kStageBytes ? three : two, shape, stream,
                params);
}

// Calls multiply(block, stage) for every eighth of `blocks` in order, with what copy_weights(block,
// stage) and copy_x(block, stage) have asked for there, from all lanes of the warp. kStages blocks
// are on their way; their weights are asked for before the predecessor is waited for. Afterwards
// all of the shared memory is free.
template <int kStages, class CopyWeights, class CopyX, class Multiply>
SIMT_DEVICE void StagedBlocks(unsigned char* shared, int32_t stage_bytes, int32_t blocks,
                              const CopyWeights& copy_weights, const CopyX& copy_x,
                              const Multiply& multiply) {
  const auto warp = static_cast<int32_t>(Warp());
  unsigned char* const ring = shared + warp * kStages * stage_bytes;
  SIMT_UNROLL
  for (int s = 0; s < kStages; ++s) {
    const int32_t block = warp + kLinearWarps * s;
    if (block < blocks) copy_weights(block, ring + s * stage_bytes);
  }
  WaitForPredecessor();
  SIMT_UNROLL
  for (int s = 0; s < kStages; ++s) {
    const int32_t block = warp + kLinearWarps * s;
    if (block < blocks) copy_x(block, ring + s * stage_bytes);
    CommitCopies();  // the first group has all of the weights so far
  }
  int32_t at = 0;
  for (int32_t block = warp; block < blocks; block += kLinearWarps) {
    WaitCopies<kStages - 1>();
    SyncWarp();
    unsigned char* const stage = ring + at * stage_bytes;
    multiply(block, stage);
    SyncWarp();  // all lanes have read the stage
    const int32_t next = block + kLinearWarps * kStages;
    if (next < blocks) {
      copy_weights(next, stage);
      copy_x(next, stage);
    }
    CommitCopies();  // also without copies: one group a round
    at = at + 1 == kStages ? 0 : at + 1;
  }
  WaitCopies<0>();
  SyncThreads();
}

// As AddWarps, four sums at a time: of so many the adding takes as long as some of the copying, and
// registers are free by then.
template <class Sum, int kRowTiles, int kBatchTiles, class Store>
SIMT_DEVICE void AddWarpsByFours(const Sum (&sums)[kRowTiles][kBatchTiles][4], Sum* shared,
                                 int32_t first_output, int32_t outputs, int32_t first_row,
                                 int32_t rows, const Store& store) {
  constexpr int kTiles = kRowTiles * kBatchTiles;
  using Four = Vec<Sum, 4>;
  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  SIMT_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const auto& of_tile = sums[tile / kBatchTiles][tile % kBatchTiles];
    StoreVec<Sum, 4>(shared + ((warp * kTiles + tile) * 32 + lane) * 4,
                     Four{{of_tile[0], of_tile[1], of_tile[2], of_tile[3]}});
  }
  SyncThreads();
  for (int32_t i = static_cast<int32_t>(ThreadX()); i < kTiles * 32; i += kLinearWarps * 32) {
    Four sum = LoadVec<Sum, 4>(shared + 4 * i);
    SIMT_UNROLL
    for (int w = 1; w < kLinearWarps; ++w) {
      const Four next = LoadVec<Sum, 4>(shared + (w * kTiles * 32 + i) * 4);
      SIMT_UNROLL
      for (int c = 0; c < 4; ++c) sum.v[c] += next.v[c];
    }
    const int32_t tile = i / 32;
    SIMT_UNROLL
    for (int c = 0; c < 4; ++c) {
      const int32_t output =
          first_output + 16 * (tile / kBatchTiles) + (c >= 2 ? 8 : 0) + i % 32 / 4;
      const int32_t row = first_row + 8 * (tile % kBatchTiles) + i % 4 * 2 + c % 2;
      if (output < outputs && row < rows) store(row, output, sum.v[c]);
    }
  }
}

// ---- rows in a stage: kRows of kBytes (64 or 128) each, read by lanes (g, t) in pieces of kRead
// ----

// Where chunk c of 16 bytes of a row is within it: so that the rows that are read at once lie in
// different banks. 128 bytes are all banks, and lanes read 8 bytes half a warp at a time, 16 bytes
// a quarter of one.
template <int kBytes, int kRead>
SIMT_DEVICE int32_t StagedChunk(int32_t row, int32_t chunk) {
  static_assert((kBytes == 64 || kBytes == 128) && (kRead == 8 || kRead == 16));
  if constexpr (kBytes == 64) return kRead == 8 ? chunk ^ (row / 2 % 2 * 2) : chunk;
  return kRead == 8 ? chunk ^ (row % 4 * 2) : chunk ^ (row % 2 * 4);
}

// Asks for kBytes from `column` on of the matrix's rows [first, first + kRows). Addresses in bytes.
// Rows past its end become zeros: what they cost is nothing, and their sums go nowhere.
template <int kRows, int kBytes, int kRead>
SIMT_DEVICE void CopyRows(unsigned char* to, const void* matrix, int32_t first, int32_t rows,
                          int32_t row_bytes, int64_t column) {
  constexpr int kLanes = kBytes / 16;  // of a row
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t chunk = lane % kLanes;
  const int32_t last = rows - 1 - first;
  const auto* const from =
      static_cast<const unsigned char*>(matrix) + int64_t{first} * row_bytes + column + 16 * chunk;
  SIMT_UNROLL
  for (int32_t start = 0; start < kRows; start += 32 / kLanes) {
    const int32_t row = start + lane / kLanes;
    // Less than kRows rows away: 32 bits, of which there are many, do.
    const auto away = static_cast<uint32_t>(AtMost(row, last) * row_bytes);
    CopyAsync16(to + row * kBytes + 16 * StagedChunk<kBytes, kRead>(row, chunk), from + away,
                row <= last);
  }
}

// Asks for kCount floats, `stride` apart from that of `first` on; those past the end repeat the
// last.
template <int kCount>
SIMT_DEVICE void CopyFloats(unsigned char* to, const float* floats, int32_t first, int32_t count,
                            int32_t stride) {
  SIMT_UNROLL
  for (int32_t i = 0; i < kCount; i += 32) {
    const int32_t at = i + static_cast<int32_t>(Lane());
    CopyAsync4(to + 4 * at, floats + int64_t{AtMost(first + at, count - 1)} * stride);
  }
}

// kRead bytes of a row from `offset` on.
template <int kBytes, int kRead>
SIMT_DEVICE Vec<uint32_t, kRead / 4> LoadStaged(const unsigned char* stage, int32_t row,
                                                int32_t offset) {
  const int32_t at = row * kBytes + 16 * StagedChunk<kBytes, kRead>(row, offset / 16) + offset % 16;
  return LoadVec<uint32_t, kRead / 4>(reinterpret_cast<const uint32_t*>(stage + at));
}

}  // namespace inferd::cuda
