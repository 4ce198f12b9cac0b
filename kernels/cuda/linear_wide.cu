// out[m, n] = sum_k x[m, k] w[n, k] (+ bias[n]) for 33 to 64 rows m (or more, 64 at a time):
// bf16, f16 with a scale for each row, or int8 with scales; x of one term.
//
//   grid (outputs / 64 * rows / 64), 8 warps a block, each for all of the block's tile
//
// As in linear_skinny.cu a warp takes every eighth 64-byte block of the inputs, with the same
// instructions in the same order, and the warps' sums are added in warp order: the results have
// the same bits. Here x comes from the level-2 cache once for 64 outputs, not 32, so that it
// costs as many bytes of that cache as the weights and not twice as many.
//
// Bound: bytes of w from memory, and of w and x from the level-2 cache. 64 or 96 KB of weights a
// block are on their way.
#include "cuda/code.h"
#include "cuda/linear_skinny.h"
#include "cuda/linear_staged.h"

namespace inferd::cuda {
namespace {

constexpr int kBatchTiles = 8;  // of 8 rows
constexpr int kRows = 8 * kBatchTiles;
constexpr int kWeightBytes = kStagedOutputs * kRowAlignBytes;  // of a stage
constexpr int kStageBytes = kWeightBytes + kRows * kRowAlignBytes;

template <class Value, int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
WideKernel(SkinnyParams p) {
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();
  const auto g = static_cast<int32_t>(Lane() / 4);
  const auto t = static_cast<int32_t>(Lane() % 4);
  const StagedTile tile = TileOf<kRows>(p.rows);
  const int32_t first_output = tile.first_output;  // Clang 14 lets no lambda have a binding
  const int32_t first_row = tile.first_row;
  const int32_t row_bytes = p.row_words * 4;

  SumOf<Value> sums[kStagedRowTiles][kBatchTiles][4];
  ToZero(sums);
  StagedBlocks<kStages>(
      shared, kStageBytes, p.row_words / kBlockWords,
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kStagedOutputs, kRowAlignBytes, 16>(stage, p.weights, first_output, p.outputs,
                                                     row_bytes, int64_t{block} * kRowAlignBytes);
      },
      [&](int32_t block, unsigned char* stage) {
        CopyRows<kRows, kRowAlignBytes, 16>(stage + kWeightBytes, p.x, first_row, p.rows, row_bytes,
                                            int64_t{block} * kRowAlignBytes);
      },
      [&](int32_t, const unsigned char* stage) {
        Vec<uint32_t, 4> w[kStagedRowTiles][2];
        SIMT_UNROLL
        for (int r = 0; r < kStagedRowTiles; ++r) {
          w[r][0] = LoadStaged<kRowAlignBytes, 16>(stage, 16 * r + g, 16 * t);
          w[r][1] = LoadStaged<kRowAlignBytes, 16>(stage, 16 * r + 8 + g, 16 * t);
        }
        SIMT_UNROLL
        for (int j = 0; j < kBatchTiles; ++j) {
          const auto x = LoadStaged<kRowAlignBytes, 16>(stage + kWeightBytes, 8 * j + g, 16 * t);
          SIMT_UNROLL
          for (int r = 0; r < kStagedRowTiles; ++r) {
            MultiplyBlock<Value>(sums[r][j], w[r][0], w[r][1], x);
          }
        }
      });
  AddWarpsByFours(sums, reinterpret_cast<SumOf<Value>*>(shared), first_output, p.outputs, first_row,
                  p.rows, [&](int32_t row, int32_t output, SumOf<Value> sum) {
                    StoreProduct<Value>(p, row, output, sum);
                  });
}

}  // namespace

bool TakesWide(const SkinnyParams& p, int32_t max_shared_bytes) {
  return p.rows > 32 && p.terms == 1 && StagedBytes(kStageBytes, max_shared_bytes) > 0;
}

template <class Value>
int LaunchWide(const SkinnyParams& p, int32_t max_shared_bytes, Stream stream) {
  return LaunchStaged<SumOf<Value>, kBatchTiles, kStageBytes>(
      WideKernel<Value, 2>, WideKernel<Value, 3>, max_shared_bytes, stream, p);
}
template int LaunchWide<Bf16>(const SkinnyParams&, int32_t, Stream);
template int LaunchWide<Half>(const SkinnyParams&, int32_t, Stream);
template int LaunchWide<int8_t>(const SkinnyParams&, int32_t, Stream);

int code::LoadLinearWide() {
  return LoadKernels(WideKernel<Bf16, 2>, WideKernel<Bf16, 3>, WideKernel<Half, 2>,
                     WideKernel<Half, 3>, WideKernel<int8_t, 2>, WideKernel<int8_t, 3>);
}

}  // namespace inferd::cuda
