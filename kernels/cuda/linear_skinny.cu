// out[m, n] = sum_k x[m, k] w[n, k] (+ bias[n]) for few rows m: bf16, f16 with a scale for
// each row, or int8 with scales.
//
//   w    [outputs, row] of 16-byte vectors, row padded to 64 bytes with zeros
//   x    [terms][rows, row], the same; terms = 1 for int8. Or f32 [rows, inputs],
//        rounded to bf16 in registers
//   grid (outputs / (16 kRowTiles), rows / (8 kBatchTiles)), 8 warps a block
//
// Weights are the 16-row side of mma.sync, rows of x its 8 columns. A warp takes
// every eighth 64-byte block of its outputs' rows and reads it straight into
// registers: lane (g, t) reads 16 bytes of output g, which serve two instructions.
// That permutes the inputs within a block, in w and in x alike, so sums are the same.
// The warps' sums are added in warp order. Which inputs a warp takes, and in which
// order, does not depend on the template's arguments: nor do the results.
//
// Bound: bytes of w. The first kDepth blocks are requested before the predecessor
// is waited for.
#include "cuda/code.h"
#include "cuda/linear_skinny.h"
#include "cuda/stream_load.h"

namespace inferd::cuda {
namespace {

// With scales the third template would keep registers in memory for a second block.
template <class Value, int kRowTiles, int kBatchTiles>
inline constexpr int kSkinnyBlocks = std::is_same_v<Value, Bf16>&& kRowTiles* kBatchTiles == 8
                                         ? 2
                                         : kLinearBlocks<kRowTiles, kBatchTiles>;

// Four words of bf16 from eight neighbouring numbers.
SIMT_DEVICE Words RoundEight(const float* from) {
  float x[2][4];
  LoadFloats<4>(from, x[0]);
  LoadFloats<4>(from + 4, x[1]);
  Words words;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    words.v[i] = Pack2<Bf16>(x[i / 2][i % 2 * 2], x[i / 2][i % 2 * 2 + 1]);
  }
  return words;
}

template <class Value, int kRowTiles, int kBatchTiles, bool kFloatRows>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, (kSkinnyBlocks<Value, kRowTiles, kBatchTiles>))
SkinnyKernel(SkinnyParams p) {
  using Sum = SumOf<Value>;
  constexpr int kDepth = 4 / kRowTiles;  // blocks on their way at a time
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();

  const auto lane = static_cast<int32_t>(Lane());
  const auto warp = static_cast<int32_t>(Warp());
  const int32_t g = lane / 4;
  const int32_t t = lane % 4;
  const int32_t first_output = static_cast<int32_t>(BlockX()) * 16 * kRowTiles;
  const int32_t first_row = static_cast<int32_t>(BlockY()) * 8 * kBatchTiles;
  const int32_t blocks = p.row_words / kBlockWords;

  // Outputs and rows past the end repeat the last one; their sums go nowhere.
  const uint32_t* weights[kRowTiles][2];
  SIMT_UNROLL
  for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int32_t output = AtMost(first_output + 16 * r + 8 * half + g, p.outputs - 1);
      weights[r][half] = p.weights + static_cast<int64_t>(output) * p.row_words + 4 * t;
    }
  }

  Words ring[kDepth][kRowTiles][2];
  SIMT_UNROLL
  for (int d = 0; d < kDepth; ++d) {
    const int32_t block = warp + kLinearWarps * d;
    if (block < blocks) {
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        ring[d][r][0] = LoadWeightWordsEarly(weights[r][0] + block * kBlockWords);
        ring[d][r][1] = LoadWeightWordsEarly(weights[r][1] + block * kBlockWords);
      }
    }
  }
  WaitForPredecessor();

  Sum sums[kRowTiles][kBatchTiles][4];
  ToZero(sums);
  for (int32_t start = warp; start < blocks; start += kLinearWarps * kDepth) {
    SIMT_UNROLL
    for (int d = 0; d < kDepth; ++d) {
      const int32_t block = start + kLinearWarps * d;
      if (block < blocks) {  // the same for the whole warp
        SIMT_UNROLL
        for (int j = 0; j < kBatchTiles; ++j) {
          const int32_t row = AtMost(first_row + 8 * j + g, p.rows - 1);
          for (int term = 0; term < p.terms; ++term) {
            Words x;
            if constexpr (kFloatRows) {
              x = RoundEight(p.float_x + 2 * (static_cast<int64_t>(row) * p.row_words +
                                              block * kBlockWords + 4 * t));
            } else {
              x = LoadVec<uint32_t, 4>(p.x +
                                       (static_cast<int64_t>(term) * p.rows + row) * p.row_words +
                                       block * kBlockWords + 4 * t);
            }
            SIMT_UNROLL
            for (int r = 0; r < kRowTiles; ++r) {
              MultiplyBlock<Value>(sums[r][j], ring[d][r][0], ring[d][r][1], x);
            }
          }
        }
        const int32_t next = block + kLinearWarps * kDepth;
        if (next < blocks) {
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r) {
            ring[d][r][0] = LoadWeightWords(weights[r][0] + next * kBlockWords);
            ring[d][r][1] = LoadWeightWords(weights[r][1] + next * kBlockWords);
          }
        }
      }
    }
  }
  AddWarps(sums, reinterpret_cast<Sum*>(shared), first_output, p.outputs, first_row, p.rows,
           [&](int32_t row, int32_t output, Sum sum) { StoreProduct<Value>(p, row, output, sum); });
}

template <class Value, int kRowTiles, int kBatchTiles, bool kFloatRows = false>
int LaunchSkinny(const SkinnyParams& p, Stream stream) {
  const LaunchShape shape =
      LinearWarpsShape<SumOf<Value>, kRowTiles, kBatchTiles>(p.outputs, p.rows);
  return Launch(SkinnyKernel<Value, kRowTiles, kBatchTiles, kFloatRows>, shape, stream, p);
}

template <class Value>
int Skinny(const SkinnyParams& p, int32_t max_shared_bytes, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  if (p.row_words <= 0 || p.row_words % kBlockWords != 0) return kBadArguments;
  if (p.rows <= 8) return LaunchSkinny<Value, 1, 1>(p, stream);
  if (p.rows <= 16) return LaunchSkinny<Value, 1, 2>(p, stream);
  if (p.rows <= 32) return LaunchSkinny<Value, 2, 4>(p, stream);
  if (TakesWide(p, max_shared_bytes)) return LaunchWide<Value>(p, max_shared_bytes, stream);
  return LaunchSkinny<Value, 2, 8>(p, stream);
}

}  // namespace

int LinearBf16(LinearBf16Params p, Stream stream) {
  return Skinny<Bf16>(
      {static_cast<const uint32_t*>(p.x), nullptr, static_cast<const uint32_t*>(p.weights), nullptr,
       nullptr, p.bias, p.out, p.rows, p.outputs, p.row_bytes / 4, p.terms},
      p.max_shared_bytes, stream);
}

int LinearBf16Rows(LinearBf16RowsParams p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  if (!TakesFloatRows(p.rows, p.inputs)) return kBadArguments;
  return LaunchSkinny<Bf16, 1, 1, true>(
      {nullptr, p.x, static_cast<const uint32_t*>(p.weights), nullptr, nullptr, p.bias, p.out,
       p.rows, p.outputs, p.inputs / 2, 1},
      stream);
}

int LinearHalf(LinearHalfParams p, Stream stream) {
  return Skinny<Half>(
      {static_cast<const uint32_t*>(p.x), nullptr, static_cast<const uint32_t*>(p.weights),
       p.x_scales, nullptr, p.bias, p.out, p.rows, p.outputs, p.row_bytes / 4, p.terms},
      p.max_shared_bytes, stream);
}

int LinearInt8(LinearInt8Params p, Stream stream) {
  return Skinny<int8_t>(
      {static_cast<const uint32_t*>(p.x), nullptr, static_cast<const uint32_t*>(p.weights),
       p.x_scales, p.weight_scales, p.bias, p.out, p.rows, p.outputs, p.row_bytes / 4, 1},
      p.max_shared_bytes, stream);
}

namespace {

template <class Value>
int LoadSkinny() {
  return LoadKernels(SkinnyKernel<Value, 1, 1, false>, SkinnyKernel<Value, 1, 2, false>,
                     SkinnyKernel<Value, 2, 4, false>, SkinnyKernel<Value, 2, 8, false>);
}

}  // namespace

int code::LoadLinearSkinny() {
  if (const int error = LoadSkinny<Bf16>(); error != 0) return error;
  if (const int error = LoadSkinny<Half>(); error != 0) return error;
  if (const int error = LoadSkinny<int8_t>(); error != 0) return error;
  return LoadKernels(SkinnyKernel<Bf16, 1, 1, true>);
}

}  // namespace inferd::cuda
