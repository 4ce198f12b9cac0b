// The product of linear_fp8.cu for 17 to 64 rows (or more, 64 at a time) of one term: the same
// instructions in the same order for every sum, so the same bits.
//
//   grid (outputs / 64 * rows / (8 kBatchTiles)), 8 warps a block, each for all of the block's tile
//
// x, in bf16, is twice as wide as the weights: read once for 16 outputs, 64 rows would be eight
// times their bytes from the level-2 cache. For 64 outputs they are twice as many, 32 rows as many.
//
// Groups are of whole blocks of 64 inputs; others are left to linear_fp8.cu.
//
// Bound: bytes of w from memory, and of w and x from the level-2 cache.
#include "cuda/code.h"
#include "cuda/linear_fp8.h"
#include "cuda/linear_staged.h"

namespace inferd::cuda {
namespace fp8 {
namespace {

constexpr int kWeightBytes = kStagedOutputs * kBlockInputs;  // of a stage
constexpr int kRowBytes = 2 * kBlockInputs;                  // of x
// With groups a stage ends with the scales of its block's group: of 64 outputs, then of the rows.
template <int kBatchTiles, bool kGroups>
inline constexpr int kStageBytes = kWeightBytes + 8 * kBatchTiles* kRowBytes +
                                   (kGroups ? 4 * (kStagedOutputs + 8 * kBatchTiles) : 0);

// The tiles of 16 outputs that are widened at a time: what registers hold beside the sums.
constexpr int kAtOnce = 2;
using Widened = uint32_t[kAtOnce][kHalves][2][4];

SIMT_DEVICE void WidenTiles(const unsigned char* stage, int32_t first_tile, Widened& a) {
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  SIMT_UNROLL
  for (int r = 0; r < kAtOnce; ++r) {
    SIMT_UNROLL
    for (int side = 0; side < 2; ++side) {
      SIMT_UNROLL
      for (int half = 0; half < kHalves; ++half) {
        const auto codes = LoadStaged<kBlockInputs, 8>(stage, 16 * (first_tile + r) + 8 * side + g,
                                                       32 * half + 8 * t);
        SIMT_UNROLL
        for (int s = 0; s < 2; ++s) {
          Widen(codes.v[s], a[r][half][s][side], a[r][half][s][side + 2]);
        }
      }
    }
  }
}

// totals += sums of a tile, scaled. x_scales: of rows 2t and 2t + 1; w_scales: of outputs g and g
// + 8.
SIMT_DEVICE void AddScaledTile(const float (&sums)[4], const float (&x_scales)[2],
                               const float (&w_scales)[2], float (&totals)[4]) {
  SIMT_UNROLL
  for (int c = 0; c < 4; ++c) {
    totals[c] = AddScaled(totals[c], sums[c], x_scales[c % 2], w_scales[c / 2]);
  }
}

// Sums of one group for all inputs, times their scales.
template <int kBatchTiles>
SIMT_DEVICE void ScaleSums(const Fp8Params& p, int32_t first_row, int32_t first_output,
                           float (&sums)[kStagedRowTiles][kBatchTiles][4]) {
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  float w_scales[kStagedRowTiles][2];
  float x_scales[kBatchTiles][2];
  SIMT_UNROLL
  for (int r = 0; r < 2 * kStagedRowTiles; ++r) {
    w_scales[r / 2][r % 2] = p.weight_scales[AtMost(first_output + 8 * r + g, p.outputs - 1)];
  }
  SIMT_UNROLL
  for (int i = 0; i < 2 * kBatchTiles; ++i) {
    const int32_t row = AtMost(first_row + 8 * (i / 2) + 2 * t + i % 2, p.rows - 1);
    x_scales[i / 2][i % 2] = p.x_scales != nullptr ? p.x_scales[row] : 1.0F;
  }
  SIMT_UNROLL
  for (int r = 0; r < kStagedRowTiles; ++r) {
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      float scaled[4] = {};
      AddScaledTile(sums[r][j], x_scales[j], w_scales[r], scaled);
      SIMT_UNROLL
      for (int c = 0; c < 4; ++c) sums[r][j][c] = scaled[c];
    }
  }
}

// With groups, each of whole blocks of inputs, or of one for all.
template <int kBatchTiles, bool kGroups, int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
Fp8WideKernel(Fp8Params p) {
  constexpr int kRows = 8 * kBatchTiles;
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  const StagedTile tile = TileOf<kRows>(p.rows);
  const int32_t first_output = tile.first_output;  // Clang 14 lets no lambda have a binding
  const int32_t first_row = tile.first_row;
  const int32_t row_bytes = p.blocks * kBlockInputs;

  constexpr int kScalesAt = kWeightBytes + kRows * kRowBytes;  // of a stage
  const int32_t group_blocks = kGroups ? p.group_halves / kHalves : 1;
  // Past the last input there is no group; x is zero there.
  const auto group_of = [&](int32_t block) { return AtMost(block / group_blocks, p.groups - 1); };

  float sums[kStagedRowTiles][kBatchTiles][4];  // with groups scaled ones
  ToZero(sums);
  StagedBlocks<kStages>(
      shared, kStageBytes<kBatchTiles, kGroups>, p.blocks,
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kStagedOutputs, kBlockInputs, 8>(stage, p.weights, first_output, p.outputs,
                                                  row_bytes, int64_t{block} * kBlockInputs);
        if constexpr (kGroups) {
          CopyFloats<kStagedOutputs>(stage + kScalesAt,
                                     p.weight_scales + int64_t{group_of(block)} * p.outputs,
                                     first_output, p.outputs, 1);
        }
      },
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kRows, kRowBytes, 16>(stage + kWeightBytes, p.x, first_row, p.rows, 2 * row_bytes,
                                       int64_t{block} * kRowBytes);
        if constexpr (kGroups) {
          unsigned char* const scales = stage + kScalesAt + 4 * kStagedOutputs;
          if (p.x_scales != nullptr) {
            CopyFloats<kRows>(scales, p.x_scales + group_of(block), first_row, p.rows, p.groups);
          } else {
            SIMT_UNROLL
            for (int32_t i = 0; i < kRows; i += 32) {
              reinterpret_cast<float*>(scales)[i + static_cast<int32_t>(Lane())] = 1.0F;
            }
          }
        }
      },
      [&](int32_t, const unsigned char* stage) {
        const auto* const w_scales = reinterpret_cast<const float*>(stage + kScalesAt);
        const float* const x_scales = w_scales + kStagedOutputs;
        SIMT_UNROLL
        for (int first_tile = 0; first_tile < kStagedRowTiles; first_tile += kAtOnce) {
          SyncWarp();  // what is loaded for these tiles stays behind: registers
          Widened a;
          WidenTiles(stage, first_tile, a);
          SIMT_UNROLL
          for (int j = 0; j < kBatchTiles; ++j) {
            float parts[kAtOnce][4] = {};
            SIMT_UNROLL
            for (int half = 0; half < kHalves; ++half) {
              const auto x =
                  LoadStaged<kRowBytes, 16>(stage + kWeightBytes, 8 * j + g, 64 * half + 16 * t);
              SIMT_UNROLL
              for (int r = 0; r < kAtOnce; ++r) {
                SIMT_UNROLL
                for (int s = 0; s < 2; ++s) {
                  const uint32_t b[2] = {x.v[2 * s], x.v[2 * s + 1]};
                  Mma16<Bf16>(kGroups ? parts[r] : sums[first_tile + r][j], a[r][half][s], b);
                }
              }
            }
            if constexpr (kGroups) {
              float of_rows[2];
              LoadFloats<2>(x_scales + 8 * j + 2 * t, of_rows);
              SIMT_UNROLL
              for (int r = 0; r < kAtOnce; ++r) {
                const float* const of_tile = w_scales + 16 * (first_tile + r) + g;
                AddScaledTile(parts[r], of_rows, {of_tile[0], of_tile[8]}, sums[first_tile + r][j]);
              }
            }
          }
        }
      });
  if constexpr (!kGroups) ScaleSums(p, first_row, first_output, sums);
  AddWarpsByFours(sums, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row,
                  p.rows,
                  [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

constexpr int32_t StageBytes(const Fp8Params& p) {
  return p.groups > 1 ? kStageBytes<4, true> : kStageBytes<4, false>;
}

// 32 rows a block.
template <bool kGroups>
int Launch(const Fp8Params& p, int32_t max_shared_bytes, Stream stream) {
  return LaunchStaged<float, 4, kStageBytes<4, kGroups>>(
      Fp8WideKernel<4, kGroups, 2>, Fp8WideKernel<4, kGroups, 3>, max_shared_bytes, stream, p);
}

}  // namespace

bool TakesWide(const Fp8Params& p, int32_t max_shared_bytes) {
  const bool whole_blocks = p.groups == 1 || p.group_halves % kHalves == 0;
  return p.rows > 16 && p.terms == 1 && whole_blocks &&
         StagedBytes(StageBytes(p), max_shared_bytes) > 0;
}

int LaunchWide(const Fp8Params& p, int32_t max_shared_bytes, Stream stream) {
  // For the scaled sums of 64 rows there are no registers.
  if (p.groups > 1) return Launch<true>(p, max_shared_bytes, stream);
  constexpr int kBytes64 = kStageBytes<8, false>;
  if (p.rows <= 32 || StagedBytes(kBytes64, max_shared_bytes) == 0) {
    return Launch<false>(p, max_shared_bytes, stream);
  }
  const auto kernel = Fp8WideKernel<8, false, 2>;  // no GPU has room for three stages
  return LaunchStaged<float, 8, kBytes64>(kernel, kernel, max_shared_bytes, stream, p);
}

}  // namespace fp8

int code::LoadLinearFp8Wide() {
  using namespace fp8;  // NOLINT(google-build-using-namespace)
  return LoadKernels(Fp8WideKernel<4, false, 2>, Fp8WideKernel<4, false, 3>,
                     Fp8WideKernel<4, true, 2>, Fp8WideKernel<4, true, 3>,
                     Fp8WideKernel<8, false, 2>);
}

}  // namespace inferd::cuda
