// out[m, n] = sum_g xs[m, g] ws[n, g] sum_{k in g} xq[m, k] (q[n, k] - z[n, g]) (+ bias)
// for 4-bit weights in groups.
//
//   codes  tiles of 16 outputs x 128 inputs, see PlaceInt4
//   ws, z  [groups, padded outputs]
//   xq     int8 [rows, padded inputs], xs [rows, groups]
//   grid   (outputs / (16 kRowTiles), rows / (8 kBatchTiles)), 8 warps a block
//
// A warp takes every eighth block of 128 inputs; four int8 instructions cover it.
// Within a group and block sums are integers; they are scaled where either ends.
// Blocks, then warps, are added in one order. Bound: bytes of the codes.
#include "cuda/code.h"
#include "cuda/linear_int4.h"
#include "cuda/stream_load.h"

namespace inferd::cuda {
namespace {

using namespace int4;  // NOLINT(google-build-using-namespace)

template <int kRowTiles, int kBatchTiles>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, (kLinearBlocks<kRowTiles, kBatchTiles>))
Int4Kernel(Int4Params p) {
  constexpr int kDepth = 4 / kRowTiles;
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();

  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const int32_t first_tile = static_cast<int32_t>(BlockX()) * kRowTiles;
  const int32_t first_output = first_tile * 16;
  const int32_t first_row = static_cast<int32_t>(BlockY()) * 8 * kBatchTiles;
  const int32_t last_tile = p.padded_outputs / 16 - 1;
  const int64_t x_stride = static_cast<int64_t>(p.blocks) * kInt4BlockInputs;

  const uint32_t* codes[kRowTiles];
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    codes[r] = p.codes +
               static_cast<int64_t>(AtMost(first_tile + r, last_tile)) * p.blocks * kTileWords +
               lane * 8;
  }
  Words ring[kDepth][kRowTiles][2];
  SIMT_UNROLL
  for (int d = 0; d < kDepth; ++d) {
    const int32_t block = warp + kLinearWarps * d;
    if (block < p.blocks) {
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        ring[d][r][0] = LoadWeightWordsEarly(codes[r] + block * kTileWords);
        ring[d][r][1] = LoadWeightWordsEarly(codes[r] + block * kTileWords + 4);
      }
    }
  }
  WaitForPredecessor();

  float totals[kRowTiles][kBatchTiles][4];
  int32_t sums[kRowTiles][kBatchTiles][4];
  ToZero(totals);
  ToZero(sums);
  for (int32_t start = warp; start < p.blocks; start += kLinearWarps * kDepth) {
    SIMT_UNROLL
    for (int d = 0; d < kDepth; ++d) {
      const int32_t block = start + kLinearWarps * d;
      if (block < p.blocks) {
        SIMT_UNROLL
        for (int s = 0; s < kSteps; ++s) {
          const int32_t step = block * kSteps + s;
          // Past the last input there is no group; x is zero there.
          const int32_t group = AtMost(step / p.group_steps, p.groups - 1);
          const int64_t of_group = static_cast<int64_t>(group) * p.padded_outputs;
          uint32_t a[kRowTiles][4];
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r) {
            const int32_t output = AtMost(first_tile + r, last_tile) * 16 + g;
            SIMT_UNROLL
            for (int half = 0; half < 2; ++half) {
              const uint32_t zero = Repeat4(p.zeros[of_group + output + 8 * half]);
              const uint32_t word = ring[d][r][half].v[s];
              a[r][half] = SubtractZero(word & 0x0F0F0F0FU, zero);
              a[r][half + 2] = SubtractZero(word >> 4 & 0x0F0F0F0FU, zero);
            }
          }
          SIMT_UNROLL
          for (int j = 0; j < kBatchTiles; ++j) {
            const int32_t row = AtMost(first_row + 8 * j + g, p.rows - 1);
            const Vec<uint32_t, 2> x = LoadVec<uint32_t, 2>(
                reinterpret_cast<const uint32_t*>(p.x + row * x_stride + step * 32 + 8 * t));
            const uint32_t b[2] = {x.v[0], x.v[1]};
            SIMT_UNROLL
            for (int r = 0; r < kRowTiles; ++r) MmaInt8(sums[r][j], a[r], b);
          }
          if (s == kSteps - 1 || (step + 1) % p.group_steps == 0) {
            SIMT_UNROLL
            for (int j = 0; j < kBatchTiles; ++j) {
              float x_scale[2];
              SIMT_UNROLL
              for (int c = 0; c < 2; ++c) {
                const int32_t row = AtMost(first_row + 8 * j + 2 * t + c, p.rows - 1);
                x_scale[c] = p.x_scales[static_cast<int64_t>(row) * p.groups + group];
              }
              SIMT_UNROLL
              for (int r = 0; r < kRowTiles; ++r) {
                const int32_t output = AtMost(first_tile + r, last_tile) * 16 + g;
                SIMT_UNROLL
                for (int c = 0; c < 4; ++c) {
                  const float scale = p.weight_scales[of_group + output + (c >= 2 ? 8 : 0)];
                  totals[r][j][c] = AddScaled(totals[r][j][c], static_cast<float>(sums[r][j][c]),
                                              x_scale[c % 2], scale);
                  sums[r][j][c] = 0;
                }
              }
            }
          }
        }
        const int32_t next = block + kLinearWarps * kDepth;
        if (next < p.blocks) {
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r) {
            ring[d][r][0] = LoadWeightWords(codes[r] + next * kTileWords);
            ring[d][r][1] = LoadWeightWords(codes[r] + next * kTileWords + 4);
          }
        }
      }
    }
  }
  AddWarps(totals, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row, p.rows,
           [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

template <int kRowTiles, int kBatchTiles>
int LaunchInt4(const Int4Params& p, Stream stream) {
  const LaunchShape shape = LinearWarpsShape<float, kRowTiles, kBatchTiles>(p.outputs, p.rows);
  return Launch(Int4Kernel<kRowTiles, kBatchTiles>, shape, stream, p);
}

}  // namespace

int LinearInt4(LinearInt4Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  if (p.group <= 0 || p.group % 32 != 0 || p.inputs % p.group != 0) return kBadArguments;
  const Int4Params params = {
      static_cast<const int8_t*>(p.x),
      p.x_scales,
      static_cast<const uint32_t*>(p.weights),
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
  if (p.rows <= 8) return LaunchInt4<1, 1>(params, stream);
  if (p.rows <= 16) return LaunchInt4<2, 2>(params, stream);
  if (TakesWide(params, p.max_shared_bytes)) {
    return LaunchWide(params, p.max_shared_bytes, stream);
  }
  if (p.rows <= 32) return LaunchInt4<1, 4>(params, stream);
  return LaunchInt4<1, 8>(params, stream);
}

int code::LoadLinearInt4() {
  return LoadKernels(Int4Kernel<1, 1>, Int4Kernel<2, 2>, Int4Kernel<1, 4>, Int4Kernel<1, 8>);
}

}  // namespace inferd::cuda
