// The product of linear_int4.cu for 17 to 32 rows, or more, 32 at a time: the same instructions in
// the same order for every sum, so the same bits.
//
//   grid (outputs / 64 * rows / 32), 8 warps a block, each for all of the block's tile
//
// x has twice the bytes of the codes: read once for 16 outputs, 64 rows would be eight times the
// codes from the level-2 cache. Here 32 rows are as many bytes as the codes.
//
// Bound: bytes of the codes from memory, and of codes and x from the level-2 cache.
#include "cuda/code.h"
#include "cuda/linear_int4.h"
#include "cuda/linear_staged.h"

namespace inferd::cuda {
namespace int4 {
namespace {

constexpr int kBatchTiles = 4;  // of 8 rows; sums of more leave no registers
constexpr int kRows = 8 * kBatchTiles;
constexpr int kTileBytes = kInt4TileBytes;
constexpr int kCodeBytes = kStagedRowTiles * kTileBytes;  // of a stage
constexpr int kStageBytes = kCodeBytes + kRows * kInt4BlockInputs;

// A step's inputs of a tile less their zero points, as the instruction takes them, from the codes
// of outputs g and g + 8. `zeros`: of the group, from output g on.
SIMT_DEVICE void UnpackStep(const uint32_t (&codes)[2], const uint8_t* zeros, uint32_t (&a)[4]) {
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const uint32_t zero = Repeat4(zeros[8 * half]);
    a[half] = SubtractZero(codes[half] & 0x0F0F0F0FU, zero);
    a[half + 2] = SubtractZero(codes[half] >> 4 & 0x0F0F0F0FU, zero);
  }
}

template <int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
Int4WideKernel(Int4Params p) {
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const auto [first_output, first_row] = TileOf<kRows>(p.rows);
  const int32_t first_tile = first_output / 16;
  const int32_t last_tile = p.padded_outputs / 16 - 1;
  const int32_t row_bytes = p.blocks * kInt4BlockInputs;

  float totals[kStagedRowTiles][kBatchTiles][4];
  int32_t sums[kStagedRowTiles][kBatchTiles][4];
  ToZero(totals);
  ToZero(sums);
  const auto scale = [&](int32_t group) {
    SIMT_UNROLL
    for (int r = 0; r < kStagedRowTiles; ++r) {
      const float* const of_weights =
          p.weight_scales + group * p.padded_outputs + 16 * AtMost(first_tile + r, last_tile) + g;
      SIMT_UNROLL
      for (int j = 0; j < kBatchTiles; ++j) {
        SIMT_UNROLL
        for (int c = 0; c < 4; ++c) {
          const int32_t row = AtMost(first_row + 8 * j + 2 * t + c % 2, p.rows - 1);
          totals[r][j][c] = AddScaled(totals[r][j][c], static_cast<float>(sums[r][j][c]),
                                      p.x_scales[row * p.groups + group], of_weights[c / 2 * 8]);
          sums[r][j][c] = 0;
        }
      }
    }
  };
  StagedBlocks<kStages>(
      shared, kStageBytes, p.blocks,
      [&](int32_t block, unsigned char* stage) {
        SIMT_UNROLL
        for (int r = 0; r < kStagedRowTiles; ++r) {
          const int64_t tile = AtMost(first_tile + r, last_tile);
          const uint32_t* const from = p.codes + (tile * p.blocks + block) * kTileWords + 4 * lane;
          SIMT_UNROLL
          for (int i = 0; i < kTileBytes / 512; ++i) {
            CopyAsync16(stage + r * kTileBytes + 512 * i + 16 * lane, from + 128 * i);
          }
        }
      },
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kRows, kInt4BlockInputs, 8>(stage + kCodeBytes, p.x, first_row, p.rows, row_bytes,
                                             int64_t{block} * kInt4BlockInputs);
      },
      [&](int32_t block, const unsigned char* stage) {
        Vec<uint32_t, 4> codes[kStagedRowTiles][2];
        SIMT_UNROLL
        for (int r = 0; r < kStagedRowTiles; ++r) {
          const auto* const tile =
              reinterpret_cast<const uint32_t*>(stage + r * kTileBytes + 32 * lane);
          codes[r][0] = LoadVec<uint32_t, 4>(tile);
          codes[r][1] = LoadVec<uint32_t, 4>(tile + 4);
        }
        SIMT_UNROLL
        for (int s = 0; s < kSteps; ++s) {
          const int32_t step = block * kSteps + s;
          // Past the last input there is no group; x is zero there.
          const int32_t group = AtMost(step / p.group_steps, p.groups - 1);
          const int32_t first_scale = group * p.padded_outputs + g;
          uint32_t a[kStagedRowTiles][4];
          SIMT_UNROLL
          for (int r = 0; r < kStagedRowTiles; ++r) {
            const uint32_t of_step[2] = {codes[r][0].v[s], codes[r][1].v[s]};
            UnpackStep(of_step, p.zeros + first_scale + 16 * AtMost(first_tile + r, last_tile),
                       a[r]);
          }
          SIMT_UNROLL
          for (int j = 0; j < kBatchTiles; ++j) {
            const auto x =
                LoadStaged<kInt4BlockInputs, 8>(stage + kCodeBytes, 8 * j + g, 32 * s + 8 * t);
            const uint32_t b[2] = {x.v[0], x.v[1]};
            SIMT_UNROLL
            for (int r = 0; r < kStagedRowTiles; ++r) MmaInt8(sums[r][j], a[r], b);
          }
          if (s == kSteps - 1 || (step + 1) % p.group_steps == 0) scale(group);
        }
      });
  AddWarps(totals, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row, p.rows,
           [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

}  // namespace

bool TakesWide(const Int4Params& p, int32_t max_shared_bytes) {
  return p.rows > 16 && StagedBytes(kStageBytes, max_shared_bytes) > 0;
}

int LaunchWide(const Int4Params& p, int32_t max_shared_bytes, Stream stream) {
  return LaunchStaged<float, kBatchTiles, kStageBytes>(Int4WideKernel<2>, Int4WideKernel<3>,
                                                       max_shared_bytes, stream, p);
}

}  // namespace int4

int code::LoadLinearInt4Wide() {
  return LoadKernels(int4::Int4WideKernel<2>, int4::Int4WideKernel<3>);
}

}  // namespace inferd::cuda
