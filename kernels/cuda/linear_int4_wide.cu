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
// A stage ends with the scales of 64 outputs, their zero points and the scales of the rows, for
// each group of its block: one where groups are of whole blocks, up to four else.
constexpr int kZerosAt = 4 * kStagedOutputs;  // of a group
constexpr int kRowScalesAt = kZerosAt + kStagedOutputs;
constexpr int kGroupBytes = kRowScalesAt + 4 * kRows;
constexpr int kGroupsAt = kCodeBytes + kRows * kInt4BlockInputs;
template <bool kWhole>
inline constexpr int kSlots = kWhole ? 1 : kSteps;
template <bool kWhole>
inline constexpr int kStageBytes = kGroupsAt + kSlots<kWhole>* kGroupBytes;

// Past the last input there is no group; x is zero there.
SIMT_DEVICE int32_t GroupOf(const Int4Params& p, int32_t step) {
  return AtMost(step / p.group_steps, p.groups - 1);
}

// Calls copy(group, slot) for the groups of a block.
template <bool kWhole, class Copy>
SIMT_DEVICE void EachGroup(const Int4Params& p, int32_t block, const Copy& copy) {
  const int32_t first = GroupOf(p, block * kSteps);
  copy(first, 0);
  if constexpr (!kWhole) {
    const int32_t last = GroupOf(p, block * kSteps + kSteps - 1);
    SIMT_UNROLL
    for (int slot = 1; slot < kSteps; ++slot) {
      if (first + slot <= last) copy(first + slot, slot);
    }
  }
}

// 16 bytes a lane: the scales of 64 outputs from 16 lanes, their zero points from four. Outputs
// past the end repeat the last.
SIMT_DEVICE void CopyGroup(const Int4Params& p, unsigned char* to, int32_t first_output,
                           int32_t group) {
  constexpr int kScaleLanes = kStagedOutputs / 4;
  constexpr int kLanes = kScaleLanes + kStagedOutputs / 16;
  const auto lane = static_cast<int32_t>(Lane());
  if (lane >= kLanes) return;
  const int64_t of_group = int64_t{group} * p.padded_outputs;
  const bool scales = lane < kScaleLanes;
  const int32_t each = scales ? 4 : 16;  // outputs of a lane
  const int64_t at = of_group + AtMost(first_output + each * (scales ? lane : lane - kScaleLanes),
                                       p.padded_outputs - each);
  CopyAsync16(to + 16 * lane, scales ? static_cast<const void*>(p.weight_scales + at)
                                     : static_cast<const void*>(p.zeros + at));
}

// Chunks of 16 bytes of a tile's codes: so that a quarter of a warp reads from all banks.
SIMT_DEVICE int32_t CodeChunk(int32_t chunk) { return chunk ^ (chunk / 8 % 2); }

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

template <bool kWhole, int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
Int4WideKernel(Int4Params p) {
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const StagedTile tile = TileOf<kRows>(p.rows);
  const int32_t first_output = tile.first_output;  // Clang 14 lets no lambda have a binding
  const int32_t first_row = tile.first_row;
  const int32_t first_tile = first_output / 16;
  const int32_t last_tile = p.padded_outputs / 16 - 1;
  const int32_t row_bytes = p.blocks * kInt4BlockInputs;

  float totals[kStagedRowTiles][kBatchTiles][4];
  int32_t sums[kStagedRowTiles][kBatchTiles][4];
  ToZero(totals);
  ToZero(sums);
  const auto scale = [&](const unsigned char* of_group) {
    const auto* const w_scales = reinterpret_cast<const float*>(of_group) + g;
    const auto* const x_scales = reinterpret_cast<const float*>(of_group + kRowScalesAt) + 2 * t;
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      float of_rows[2];
      LoadFloats<2>(x_scales + 8 * j, of_rows);
      SIMT_UNROLL
      for (int r = 0; r < kStagedRowTiles; ++r) {
        SIMT_UNROLL
        for (int c = 0; c < 4; ++c) {
          totals[r][j][c] = AddScaled(totals[r][j][c], static_cast<float>(sums[r][j][c]),
                                      of_rows[c % 2], w_scales[16 * r + c / 2 * 8]);
          sums[r][j][c] = 0;
        }
      }
    }
  };
  StagedBlocks<kStages>(
      shared, kStageBytes<kWhole>, p.blocks,
      [&](int32_t block, unsigned char* stage) {
        SIMT_UNROLL
        for (int r = 0; r < kStagedRowTiles; ++r) {
          const int64_t code_tile = AtMost(first_tile + r, last_tile);
          const uint32_t* const from =
              p.codes + (code_tile * p.blocks + block) * kTileWords + 4 * lane;
          SIMT_UNROLL
          for (int i = 0; i < kTileBytes / 512; ++i) {
            CopyAsync16(stage + r * kTileBytes + 16 * CodeChunk(32 * i + lane), from + 128 * i);
          }
        }
        EachGroup<kWhole>(p, block, [&](int32_t group, int slot) {
          CopyGroup(p, stage + kGroupsAt + slot * kGroupBytes, first_output, group);
        });
      },
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kRows, kInt4BlockInputs, 8>(stage + kCodeBytes, p.x, first_row, p.rows, row_bytes,
                                             int64_t{block} * kInt4BlockInputs);
        EachGroup<kWhole>(p, block, [&](int32_t group, int slot) {
          CopyFloats<kRows>(stage + kGroupsAt + slot * kGroupBytes + kRowScalesAt,
                            p.x_scales + group, first_row, p.rows, p.groups);
        });
      },
      [&](int32_t block, const unsigned char* stage) {
        Vec<uint32_t, 4> codes[kStagedRowTiles][2];
        SIMT_UNROLL
        for (int r = 0; r < kStagedRowTiles; ++r) {
          SIMT_UNROLL
          for (int half = 0; half < 2; ++half) {
            codes[r][half] = LoadVec<uint32_t, 4>(reinterpret_cast<const uint32_t*>(
                stage + r * kTileBytes + 16 * CodeChunk(2 * lane + half)));
          }
        }
        const int32_t first_group = kWhole ? 0 : GroupOf(p, block * kSteps);
        SIMT_UNROLL
        for (int s = 0; s < kSteps; ++s) {
          const int32_t step = block * kSteps + s;
          const int32_t slot = kWhole ? 0 : GroupOf(p, step) - first_group;
          const unsigned char* const of_group = stage + kGroupsAt + slot * kGroupBytes;
          uint32_t a[kStagedRowTiles][4];
          SIMT_UNROLL
          for (int r = 0; r < kStagedRowTiles; ++r) {
            const uint32_t of_step[2] = {codes[r][0].v[s], codes[r][1].v[s]};
            UnpackStep(of_step, of_group + kZerosAt + 16 * r + g, a[r]);
          }
          SIMT_UNROLL
          for (int j = 0; j < kBatchTiles; ++j) {
            const auto x =
                LoadStaged<kInt4BlockInputs, 8>(stage + kCodeBytes, 8 * j + g, 32 * s + 8 * t);
            const uint32_t b[2] = {x.v[0], x.v[1]};
            SIMT_UNROLL
            for (int r = 0; r < kStagedRowTiles; ++r) MmaInt8(sums[r][j], a[r], b);
          }
          const bool ends = s == kSteps - 1 || (!kWhole && (step + 1) % p.group_steps == 0);
          if (ends) scale(of_group);
        }
      });
  AddWarpsByFours(totals, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row,
                  p.rows,
                  [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

bool Whole(const Int4Params& p) { return p.group_steps % kSteps == 0; }

}  // namespace

bool TakesWide(const Int4Params& p, int32_t max_shared_bytes) {
  const int32_t stage_bytes = Whole(p) ? kStageBytes<true> : kStageBytes<false>;
  return p.rows > 16 && StagedBytes(stage_bytes, max_shared_bytes) > 0;
}

int LaunchWide(const Int4Params& p, int32_t max_shared_bytes, Stream stream) {
  if (Whole(p)) {
    return LaunchStaged<float, kBatchTiles, kStageBytes<true>>(
        Int4WideKernel<true, 2>, Int4WideKernel<true, 3>, max_shared_bytes, stream, p);
  }
  const auto kernel = Int4WideKernel<false, 2>;  // no GPU has room for three stages
  return LaunchStaged<float, kBatchTiles, kStageBytes<false>>(kernel, kernel, max_shared_bytes,
                                                              stream, p);
}

}  // namespace int4

int code::LoadLinearInt4Wide() {
  using namespace int4;  // NOLINT(google-build-using-namespace)
  return LoadKernels(Int4WideKernel<true, 2>, Int4WideKernel<true, 3>, Int4WideKernel<false, 2>);
}

}  // namespace inferd::cuda
