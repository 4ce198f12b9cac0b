// out[m, n] = sum_g xs[m, g] ws[n, g] sum_{k in g} x[m, k] w[n, k] (+ bias[n]), w E4M3.
//
//   w    e4m3 [outputs, row], row padded to 64 bytes with zeros
//   ws   [groups, outputs]; xs [rows, groups], null: ones
//   x    bf16 [terms][rows, row]: E4M3 values where they were rounded, else terms of x
//   grid (outputs / (16 kRowTiles), rows / (8 kBatchTiles)), 8 warps a block
//
// Every E4M3 number is a bf16 one: codes are widened in registers and multiplied by the
// bf16 tensor cores, so this runs from sm_80 on. A warp takes every eighth block of 64
// inputs; lane (g, t) reads 8 bytes of output g in each half of it, which serve two
// instructions a half. That permutes the inputs within a half, in w and in x alike. Sums
// are scaled where a group or a block ends; blocks, then warps, are added in one order.
// Bound: bytes of w.
#include "cuda/code.h"
#include "cuda/linear_fp8.h"
#include "cuda/stream_load.h"

namespace inferd::cuda {
namespace {

using namespace fp8;  // NOLINT(google-build-using-namespace)

template <int kRowTiles, int kBatchTiles>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, (kLinearBlocks<kRowTiles, kBatchTiles>))
Fp8Kernel(Fp8Params p) {
  constexpr int kDepth = 4 / kRowTiles;  // blocks on their way at a time
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();

  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const int32_t first_output = static_cast<int32_t>(BlockX()) * 16 * kRowTiles;
  const int32_t first_row = static_cast<int32_t>(BlockY()) * 8 * kBatchTiles;
  const int32_t row_words = p.blocks * kBlockWords;

  // Outputs and rows past the end repeat the last one; their sums go nowhere.
  const uint32_t* weights[kRowTiles][2];
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int32_t output = AtMost(first_output + 16 * r + 8 * side + g, p.outputs - 1);
      weights[r][side] = p.weights + static_cast<int64_t>(output) * row_words + 2 * t;
    }
  }
  WeightPair ring[kDepth][kRowTiles][2][kHalves];
  const auto fetch = [&](int d, int32_t block, auto load) {
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int side = 0; side < 2; ++side) {
        SIMT_UNROLL
        for (int half = 0; half < kHalves; ++half) {
          ring[d][r][side][half] = load(weights[r][side] + block * kBlockWords + half * 8);
        }
      }
    }
  };
  const auto load_early = [](const uint32_t* from) { return LoadWeightPairEarly(from); };
  const auto load = [](const uint32_t* from) { return LoadWeightPair(from); };
  SIMT_UNROLL
  for (int d = 0; d < kDepth; ++d) {
    const int32_t block = warp + kLinearWarps * d;
    if (block < p.blocks) fetch(d, block, load_early);
  }
  WaitForPredecessor();

  float totals[kRowTiles][kBatchTiles][4];
  float sums[kRowTiles][kBatchTiles][4];
  ToZero(totals);
  ToZero(sums);
  const auto scale = [&](int32_t group) {
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      float x_scale[2] = {1.0F, 1.0F};
      SIMT_UNROLL
      for (int c = 0; c < 2; ++c) {
        const int32_t row = AtMost(first_row + 8 * j + 2 * t + c, p.rows - 1);
        if (p.x_scales != nullptr) {
          x_scale[c] = p.x_scales[static_cast<int64_t>(row) * p.groups + group];
        }
      }
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        SIMT_UNROLL
        for (int c = 0; c < 4; ++c) {
          const int32_t output =
              AtMost(first_output + 16 * r + g + (c >= 2 ? 8 : 0), p.outputs - 1);
          const float of_weight = p.weight_scales[static_cast<int64_t>(group) * p.outputs + output];
          totals[r][j][c] = AddScaled(totals[r][j][c], sums[r][j][c], x_scale[c % 2], of_weight);
          sums[r][j][c] = 0;
        }
      }
    }
  };
  for (int32_t start = warp; start < p.blocks; start += kLinearWarps * kDepth) {
    SIMT_UNROLL
    for (int d = 0; d < kDepth; ++d) {
      const int32_t block = start + kLinearWarps * d;
      if (block < p.blocks) {  // the same for the whole warp
        SIMT_UNROLL
        for (int half = 0; half < kHalves; ++half) {
          const int32_t step = block * kHalves + half;
          SIMT_UNROLL
          for (int j = 0; j < kBatchTiles; ++j) {
            const int32_t row = AtMost(first_row + 8 * j + g, p.rows - 1);
            for (int term = 0; term < p.terms; ++term) {
              // 16 words of bf16 a half, four of them this lane's.
              const Words x = LoadVec<uint32_t, 4>(
                  p.x + (static_cast<int64_t>(term) * p.rows + row) * (2 * row_words) + step * 16 +
                  4 * t);
              SIMT_UNROLL
              for (int r = 0; r < kRowTiles; ++r) {
                SIMT_UNROLL
                for (int s = 0; s < 2; ++s) {
                  uint32_t a[4];
                  Widen(ring[d][r][0][half].v[s], a[0], a[2]);
                  Widen(ring[d][r][1][half].v[s], a[1], a[3]);
                  const uint32_t b[2] = {x.v[2 * s], x.v[2 * s + 1]};
                  Mma16<Bf16>(sums[r][j], a, b);
                }
              }
            }
          }
          // Past the last input there is no group; x is zero there.
          const bool ends = half == kHalves - 1 || (step + 1) % p.group_halves == 0;
          if (p.groups > 1 && ends) scale(AtMost(step / p.group_halves, p.groups - 1));
        }
        const int32_t next = block + kLinearWarps * kDepth;
        if (next < p.blocks) fetch(d, next, load);
      }
    }
  }
  if (p.groups == 1) scale(0);
  AddWarps(totals, reinterpret_cast<float*>(shared), first_output, p.outputs, first_row, p.rows,
           [&](int32_t row, int32_t output, float sum) { StoreSum(p, row, output, sum); });
}

template <int kRowTiles, int kBatchTiles>
int LaunchFp8(const Fp8Params& p, Stream stream) {
  const LaunchShape shape = LinearWarpsShape<float, kRowTiles, kBatchTiles>(p.outputs, p.rows);
  return Launch(Fp8Kernel<kRowTiles, kBatchTiles>, shape, stream, p);
}

}  // namespace

int LinearFp8(LinearFp8Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  const bool whole = p.group == p.inputs;
  if (p.group <= 0 || p.inputs % p.group != 0 || (!whole && p.group % 32 != 0)) {
    return kBadArguments;
  }
  const Fp8Params params = {static_cast<const uint32_t*>(p.x),
                            p.x_scales,
                            static_cast<const uint32_t*>(p.weights),
                            p.weight_scales,
                            p.bias,
                            p.out,
                            p.rows,
                            p.outputs,
                            static_cast<int32_t>(Fp8RowBytes(p.inputs) / kBlockInputs),
                            p.inputs / p.group,
                            whole ? 1 : p.group / 32,
                            p.terms};
  if (p.rows <= 8) return LaunchFp8<1, 1>(params, stream);
  if (p.rows <= 16) return LaunchFp8<2, 2>(params, stream);
  if (TakesWide(params, p.max_shared_bytes)) {
    return LaunchWide(params, p.max_shared_bytes, stream);
  }
  if (p.rows <= 32) return LaunchFp8<1, 4>(params, stream);
  return LaunchFp8<1, 8>(params, stream);
}

int code::LoadLinearFp8() {
  return LoadKernels(Fp8Kernel<1, 1>, Fp8Kernel<2, 2>, Fp8Kernel<1, 4>, Fp8Kernel<1, 8>);
}

}  // namespace inferd::cuda
