// What products of few rows share: eight warps of a block take every eighth piece of the
// inputs each, for the same tiles of 16 outputs by 8 rows, and add their sums in warp order.
#pragma once

#include "cuda/launch.h"
#include "cuda/linear.h"
#include "cuda/simt.h"

namespace inferd::cuda {

inline constexpr int kLinearWarps = 8;

// Blocks that a multiprocessor shall hold at once, which bounds a thread's registers: 80, 128 or
// 255. A block has 32 KB of weights on their way. Three take up to 396 tiles of outputs in one go
// on 132 multiprocessors, and two are enough for the bandwidth; sums of more rows leave
// registers for one.
template <int kRowTiles, int kBatchTiles>
inline constexpr int kLinearBlocks = kRowTiles* kBatchTiles == 1   ? 3
                                     : kRowTiles* kBatchTiles <= 4 ? 2
                                                                   : 1;

SIMT_DEVICE int32_t AtMost(int32_t value, int32_t limit) { return value < limit ? value : limit; }

template <class Sum, int kRowTiles, int kBatchTiles>
SIMT_DEVICE void ToZero(Sum (&sums)[kRowTiles][kBatchTiles][4]) {
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      SIMT_UNROLL
      for (int c = 0; c < 4; ++c) sums[r][j][c] = 0;
    }
  }
}

// total + sum x_scale w_scale, where every kernel rounds alike.
SIMT_DEVICE float AddScaled(float total, float sum, float x_scale, float w_scale) {
  return fmaf(sum, ExactMultiply(x_scale, w_scale), total);
}

SIMT_DEVICE float BiasOf(const float* bias, int32_t output) {
  return bias != nullptr ? bias[output] : 0.0F;
}

// The block's sums, from those of its warps, in the accumulator layout of mma.sync: output
// g and g + 8 of a tile, rows 2t and 2t + 1. `shared` has LinearWarpsShape's bytes.
// Calls store(row, output, sum) for each that is within `rows` and `outputs`.
template <class Sum, int kRowTiles, int kBatchTiles, class Store>
SIMT_DEVICE void AddWarps(const Sum (&sums)[kRowTiles][kBatchTiles][4], Sum* shared,
                          int32_t first_output, int32_t outputs, int32_t first_row, int32_t rows,
                          const Store& store) {
  constexpr int kValues = kRowTiles * kBatchTiles * 4;
  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      SIMT_UNROLL
      for (int c = 0; c < 4; ++c) {
        shared[(warp * kValues + (r * kBatchTiles + j) * 4 + c) * 32 + lane] = sums[r][j][c];
      }
    }
  }
  SyncThreads();
  for (int32_t i = static_cast<int32_t>(ThreadX()); i < kValues * 32; i += kLinearWarps * 32) {
    Sum sum = shared[i];
    SIMT_UNROLL
    for (int w = 1; w < kLinearWarps; ++w) sum += shared[w * kValues * 32 + i];
    const int32_t value = i / 32;
    const int32_t c = value % 4;
    const int32_t j = value / 4 % kBatchTiles;
    const int32_t r = value / 4 / kBatchTiles;
    const int32_t output = first_output + 16 * r + (c >= 2 ? 8 : 0) + i % 32 / 4;
    const int32_t row = first_row + 8 * j + i % 4 * 2 + c % 2;
    if (output < outputs && row < rows) store(row, output, sum);
  }
}

// One block for each 16 kRowTiles outputs by 8 kBatchTiles rows.
template <class Sum, int kRowTiles, int kBatchTiles>
LaunchShape LinearWarpsShape(int32_t outputs, int32_t rows) {
  constexpr int kOutputs = 16 * kRowTiles;
  constexpr int kRows = 8 * kBatchTiles;
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(RoundUp(outputs, kOutputs) / kOutputs),
                static_cast<unsigned>(RoundUp(rows, kRows) / kRows)};
  shape.block = {kLinearWarps * 32};
  shape.shared_bytes = size_t{kLinearWarps} * kRowTiles * kBatchTiles * 4 * 32 * sizeof(Sum);
  shape.early = true;
  return shape;
}

}  // namespace inferd::cuda
