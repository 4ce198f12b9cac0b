// The product of linear_fp8.cu for 17 to 64 rows (or more, 64 at a time) of one term: the same
// instructions in the same order for every sum, so the same bits.
//
//   grid (outputs / 64 * rows / (8 kBatchTiles)), 8 warps a block, each for all of the block's tile
//
// x, in bf16, is twice as wide as the weights: read once for 16 outputs, 64 rows would be eight
// times their bytes from the level-2 cache. For 64 outputs they are twice as many, 32 rows as many.
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
template <int kBatchTiles>
inline constexpr int kStageBytes = kWeightBytes + 8 * kBatchTiles* kRowBytes;

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

// The scales of a group for the lane's sums of a tile: rows 2t and 2t + 1, outputs g and g + 8.
SIMT_DEVICE void AddScaledTile(const Fp8Params& p, int32_t first_row, int32_t first_output,
                               int32_t group, const float (&sums)[4], float (&totals)[4]) {
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  SIMT_UNROLL
  for (int c = 0; c < 4; ++c) {
    const int32_t row = AtMost(first_row + 2 * t + c % 2, p.rows - 1);
    const int32_t output = AtMost(first_output + g + (c >= 2 ? 8 : 0), p.outputs - 1);
    const float x_scale = p.x_scales != nullptr ? p.x_scales[row * p.groups + group] : 1.0F;
    totals[c] = AddScaled(totals[c], sums[c], x_scale, p.weight_scales[group * p.outputs + output]);
  }
}

template <int kBatchTiles, bool kGroups, int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
Fp8WideKernel(Fp8Params p) {
  constexpr int kRows = 8 * kBatchTiles;
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  const auto [first_output, first_row] = TileOf<kRows>(p.rows);
  const int32_t row_bytes = p.blocks * kBlockInputs;

  float sums[kStagedRowTiles][kBatchTiles][4];  // with groups scaled ones
  ToZero(sums);
  StagedBlocks<kStages>(
      shared, kStageBytes<kBatchTiles>, p.blocks,
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kStagedOutputs, kBlockInputs, 8>(stage, p.weights, first_output, p.outputs,
                                                  row_bytes, int64_t{block} * kBlockInputs);
      },
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kRows, kRowBytes, 16>(stage + kWeightBytes, p.x, first_row, p.rows, 2 * row_bytes,
                                       int64_t{block} * kRowBytes);
      },
      [&](int32_t block, const unsigned char* stage) {
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
              if constexpr (kGroups) {
                const int32_t step = block * kHalves + half;
                if (half == kHalves - 1 || (step + 1) % p.group_halves == 0) {
                  // Past the last input there is no group; x is zero there.
                  const int32_t group = AtMost(step / p.group_halves, p.groups - 1);
                  SIMT_UNROLL
                  for (int r = 0; r < kAtOnce; ++r) {
                    AddScaledTile(p, first_row + 8 * j, first_output + 16 * (first_tile + r), group,
                                  parts[r], sums[first_tile + r][j]);
                    SIMT_UNROLL
                    for (int c = 0; c < 4; ++c) parts[r][c] = 0;
                  }
                }
              }
            }
          }
        }
      });
  if constexpr (!kGroups) {
    SIMT_UNROLL
    for (int r = 0; r < kStagedRowTiles; ++r) {
      SIMT_UNROLL
      for (int j = 0; j < kBatchTiles; ++j) {
        float scaled[4] = {};
        AddScaledTile(p, first_row + 8 * j, first_output + 16 * r, 0, sums[r][j], scaled);
        SIMT_UNROLL
        for (int c = 0; c < 4; ++c) sums[r][j][c] = scaled[c];
      }
    }
  }
  AddWarps(sums, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row, p.rows,
           [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

// 32 rows a block.
template <bool kGroups>
int Launch32(const Fp8Params& p, int32_t max_shared_bytes, Stream stream) {
  return LaunchStaged<float, 4, kStageBytes<4>>(
      Fp8WideKernel<4, kGroups, 2>, Fp8WideKernel<4, kGroups, 3>, max_shared_bytes, stream, p);
}
// 64, for which no GPU has room for three stages.
int Launch64(const Fp8Params& p, int32_t max_shared_bytes, Stream stream) {
  const auto kernel = Fp8WideKernel<8, false, 2>;
  return LaunchStaged<float, 8, kStageBytes<8>>(kernel, kernel, max_shared_bytes, stream, p);
}

// With groups the scaled sums leave no registers for 64 rows.
bool Takes64(const Fp8Params& p, int32_t max_shared_bytes) {
  return p.rows > 32 && p.groups == 1 && StagedBytes(kStageBytes<8>, max_shared_bytes) > 0;
}

}  // namespace

bool TakesWide(const Fp8Params& p, int32_t max_shared_bytes) {
  return p.rows > 16 && p.terms == 1 && StagedBytes(kStageBytes<4>, max_shared_bytes) > 0;
}

int LaunchWide(const Fp8Params& p, int32_t max_shared_bytes, Stream stream) {
  if (Takes64(p, max_shared_bytes)) return Launch64(p, max_shared_bytes, stream);
  return p.groups > 1 ? Launch32<true>(p, max_shared_bytes, stream)
                      : Launch32<false>(p, max_shared_bytes, stream);
}

}  // namespace fp8

int code::LoadLinearFp8Wide() {
  using namespace fp8;  // NOLINT(google-build-using-namespace)
  return LoadKernels(Fp8WideKernel<4, false, 2>, Fp8WideKernel<4, false, 3>,
                     Fp8WideKernel<4, true, 2>, Fp8WideKernel<4, true, 3>,
                     Fp8WideKernel<8, false, 2>);
}

}  // namespace inferd::cuda
