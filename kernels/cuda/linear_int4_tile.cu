// out[m, n] = sum_g xs[m, g] ws[n, g] sum_{k in g} xq[m, k] (q[n, k] - z[n, g]) (+ bias)
// for 4-bit weights in groups and many rows m.
//
//   codes  tiles of 16 outputs x 128 inputs, see PlaceInt4
//   ws, z  [groups, padded outputs]
//   xq     int8 [rows, padded inputs], xs [rows, groups]
//   grid   (outputs / 128, rows / 128), 8 warps: 4 along the outputs, 2 along the rows
//
// A block goes through the inputs 128 at a time: 8 tiles of codes (8 KB) and 128 rows of
// xq (16 KB) come by cp.async into one of two stages while the other is multiplied. A warp
// has 32 outputs by 64 rows: codes lose their zero points in registers, once for eight
// instructions. Sums of a group are integers, exactly; scaled where it ends, and groups
// are added in order. Not the order of linear_int4.cu, which has fewer rows to share
// codes: like the library's products these are no part of the promise of a row's bits.
// Bound: int8 instructions. Rows of xq lie in shared memory with their 16-byte pieces
// permuted, so that the lanes of half a warp read from different banks.
#include "cuda/async_copy.h"
#include "cuda/code.h"
#include "cuda/int4_codes.h"
#include "cuda/linear_warps.h"
#include "cuda/mma.h"
#include "cuda/vec.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kOutputWarps = 4;
constexpr int kRowTiles = 2;    // of a warp, 16 outputs each
constexpr int kBatchTiles = 8;  // of a warp, 8 rows each
constexpr int kBlockTiles = kOutputWarps * kRowTiles;
constexpr int kBlockRows = kThreads / 32 / kOutputWarps * 8 * kBatchTiles;
constexpr int kSteps = kInt4BlockInputs / 32;
constexpr int kCodeBytes = kBlockTiles * static_cast<int>(kInt4TileBytes);
constexpr int kRowBytes = static_cast<int>(kInt4BlockInputs);
constexpr int kStageBytes = kCodeBytes + kBlockRows * kRowBytes;
constexpr int kPieces = kRowBytes / 16;  // of a row

struct TileParams {
  const int8_t* x;
  const float* x_scales;
  const unsigned char* codes;
  const float* weight_scales;
  const uint8_t* zeros;
  const float* bias;
  float* out;
  int32_t rows;
  int32_t outputs;
  int32_t padded_outputs;
  int32_t blocks;  // of 128 inputs
  int32_t groups;
  int32_t group_steps;  // of 32 inputs
};

// Where piece `piece` of a row stands.
SIMT_DEVICE int32_t PieceAt(int32_t row, int32_t piece) {
  return row * kRowBytes + (piece ^ (row % 4 * 2)) * 16;
}

SIMT_KERNEL(kThreads) Int4TileKernel(TileParams p) {
  SIMT_DYNAMIC_SHARED(shared);
  unsigned char* const stages = reinterpret_cast<unsigned char*>(shared);
  const auto thread = static_cast<int32_t>(ThreadX());
  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const int32_t last_tile = p.padded_outputs / 16 - 1;
  const int32_t block_tile = static_cast<int32_t>(BlockX()) * kBlockTiles;
  const int32_t block_row = static_cast<int32_t>(BlockY()) * kBlockRows;
  const int32_t warp_tile = warp % kOutputWarps * kRowTiles;  // in the block
  const int32_t warp_row = warp / kOutputWarps * (8 * kBatchTiles);
  const int64_t x_stride = static_cast<int64_t>(p.blocks) * kInt4BlockInputs;

  // Outputs and rows past the end repeat the last ones; their sums go nowhere.
  const auto fetch = [&](int32_t block) {
    unsigned char* const stage = stages + block % 2 * kStageBytes;
    for (int32_t i = thread; i < kCodeBytes / 16; i += kThreads) {
      constexpr int32_t kOfTile = static_cast<int32_t>(kInt4TileBytes) / 16;
      const int32_t tile = AtMost(block_tile + i / kOfTile, last_tile);
      CopyAsync16(stage + i * 16,
                  p.codes + (static_cast<int64_t>(tile) * p.blocks + block) * kInt4TileBytes +
                      i % kOfTile * 16);
    }
    for (int32_t i = thread; i < kBlockRows * kPieces; i += kThreads) {
      const int32_t row = i / kPieces;
      const int32_t piece = i % kPieces;
      CopyAsync16(stage + kCodeBytes + PieceAt(row, piece),
                  p.x + AtMost(block_row + row, p.rows - 1) * x_stride +
                      static_cast<int64_t>(block) * kInt4BlockInputs + piece * 16);
    }
    CommitCopies();
  };

  float totals[kRowTiles][kBatchTiles][4];
  int32_t sums[kRowTiles][kBatchTiles][4];
  ToZero(totals);
  ToZero(sums);
  int32_t outputs[kRowTiles];
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    outputs[r] = AtMost(block_tile + warp_tile + r, last_tile) * 16 + g;
  }
  const int32_t first_row = block_row + warp_row;
  const auto scale = [&](int32_t group) {
    const int64_t of_group = static_cast<int64_t>(group) * p.padded_outputs;
    float weight_scale[kRowTiles][2];
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int side = 0; side < 2; ++side) {
        weight_scale[r][side] = p.weight_scales[of_group + outputs[r] + 8 * side];
      }
    }
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      SIMT_UNROLL
      for (int c = 0; c < 2; ++c) {
        const int32_t row = AtMost(first_row + 8 * j + 2 * t + c, p.rows - 1);
        const float x_scale = p.x_scales[static_cast<int64_t>(row) * p.groups + group];
        SIMT_UNROLL
        for (int r = 0; r < kRowTiles; ++r) {
          SIMT_UNROLL
          for (int side = 0; side < 2; ++side) {
            const int i = 2 * side + c;
            totals[r][j][i] +=
                static_cast<float>(sums[r][j][i]) * (x_scale * weight_scale[r][side]);
            sums[r][j][i] = 0;
          }
        }
      }
    }
  };

  ReleaseSuccessor();
  WaitForPredecessor();
  fetch(0);
  for (int32_t block = 0; block < p.blocks; ++block) {
    if (block + 1 < p.blocks) {
      fetch(block + 1);
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    SyncThreads();
    const unsigned char* const codes = stages + block % 2 * kStageBytes;
    const unsigned char* const x = codes + kCodeBytes;
    SIMT_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const int32_t step = block * kSteps + s;
      // Past the last input there is no group; x is zero there.
      const int32_t group = AtMost(step / p.group_steps, p.groups - 1);
      uint32_t a[kRowTiles][4];
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        SIMT_UNROLL
        for (int side = 0; side < 2; ++side) {
          const uint32_t word = *reinterpret_cast<const uint32_t*>(
              codes + (warp_tile + r) * kInt4TileBytes + lane * 32 + side * 16 + s * 4);
          const uint32_t zero = Repeat4(
              p.zeros[static_cast<int64_t>(group) * p.padded_outputs + outputs[r] + 8 * side]);
          a[r][side] = SubtractZero(word & 0x0F0F0F0FU, zero);
          a[r][side + 2] = SubtractZero(word >> 4 & 0x0F0F0F0FU, zero);
        }
      }
      SIMT_UNROLL
      for (int j = 0; j < kBatchTiles; ++j) {
        const int32_t row = warp_row + 8 * j + g;
        const Vec<uint32_t, 2> values = LoadVec<uint32_t, 2>(
            reinterpret_cast<const uint32_t*>(x + PieceAt(row, 2 * s + t / 2) + t % 2 * 8));
        const uint32_t b[2] = {values.v[0], values.v[1]};
        SIMT_UNROLL
        for (int r = 0; r < kRowTiles; ++r) MmaInt8(sums[r][j], a[r], b);
      }
      if ((step + 1) % p.group_steps == 0 && step / p.group_steps < p.groups) scale(group);
    }
    // The next fetch overwrites what was just read.
    SyncThreads();
  }

  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int32_t output = (block_tile + warp_tile + r) * 16 + g + 8 * side;
      if (output < p.outputs) {
        const float bias = p.bias != nullptr ? p.bias[output] : 0.0F;
        SIMT_UNROLL
        for (int j = 0; j < kBatchTiles; ++j) {
          SIMT_UNROLL
          for (int c = 0; c < 2; ++c) {
            const int32_t row = first_row + 8 * j + 2 * t + c;
            if (row < p.rows) {
              p.out[static_cast<int64_t>(row) * p.outputs + output] =
                  totals[r][j][2 * side + c] + bias;
            }
          }
        }
      }
    }
  }
}

}  // namespace

int LinearInt4Tiles(LinearInt4Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  if (p.group <= 0 || p.group % 32 != 0 || p.inputs % p.group != 0) return kBadArguments;
  const TileParams params = {
      static_cast<const int8_t*>(p.x),
      p.x_scales,
      static_cast<const unsigned char*>(p.weights),
      p.weight_scales,
      p.zeros,
      p.bias,
      p.out,
      p.rows,
      p.outputs,
      static_cast<int32_t>(RoundUp(p.outputs, kInt4TileOutputs)),
      static_cast<int32_t>(RoundUp(p.inputs, kInt4BlockInputs) / kInt4BlockInputs),
      p.inputs / p.group,
      p.group / 32,
  };
  LaunchShape shape;
  constexpr int64_t kBlockOutputs = kBlockTiles * kInt4TileOutputs;
  shape.grid = {static_cast<unsigned>(RoundUp(p.outputs, kBlockOutputs) / kBlockOutputs),
                static_cast<unsigned>(RoundUp(p.rows, kBlockRows) / kBlockRows)};
  shape.block = {kThreads};
  shape.shared_bytes = size_t{2} * kStageBytes;
  shape.early = true;
  return Launch(Int4TileKernel, shape, stream, params);
}

int code::LoadLinearInt4Tile() { return LoadKernels(Int4TileKernel); }

}  // namespace inferd::cuda
