// out[m, n] = sum_k x[m, k] w[n, k] (+ bias[n]) for 33 to 64 rows m (or more, 64 at a time):
// bf16, f16 with a scale for each row, or int8 with scales; x of one term.
//
//   grid (outputs / 64, rows / 64), 8 warps a block, each for all of the block's tile
//
// As in linear_skinny.cu a warp takes every eighth 64-byte block of the inputs, with the same
// instructions in the same order, and the warps' sums are added in warp order: the results have
// the same bits. Here x comes from the level-2 cache once for 64 outputs, not 32, so that it
// costs as many bytes of that cache as the weights and not twice as many.
//
// Weights and x go to shared memory by cp.async, for which registers would not do. A lane copies
// just the 16 bytes of each row that it reads itself: in the loop nothing waits for another.
//
// Bound: bytes of w from memory, and of w and x from the level-2 cache. All of the ring's weights
// (64 or 96 KB a block) are requested before the predecessor is waited for.
#include "cuda/async_copy.h"
#include "cuda/code.h"
#include "cuda/linear_skinny.h"

namespace inferd::cuda {
namespace {

constexpr int kRowTiles = 4;    // of 16 outputs
constexpr int kBatchTiles = 8;  // of 8 rows
constexpr int kSide = 64;       // outputs, and rows, of a block
static_assert(kRowTiles * 16 == kSide && kBatchTiles * 8 == kSide);
constexpr int kPieceBytes = kSide * kRowAlignBytes;  // of weights, and of x, in a stage
constexpr int kStageBytes = 2 * kPieceBytes;         // of a warp
constexpr int kMaxStages = 3;

constexpr int32_t SharedBytes(int stages) { return kLinearWarps * stages * kStageBytes; }

// The lane's part of a 64-byte block of 64 rows of a matrix, to [64][64 bytes]: 16 bytes of every
// eighth row.
SIMT_DEVICE void CopyPiece(unsigned char* to, const uint32_t* from, int32_t first, int32_t rows,
                           int32_t row_words, int32_t block) {
  const auto lane = static_cast<int32_t>(Lane());
  SIMT_UNROLL
  for (int i = 0; i < kSide / 8; ++i) {
    const int32_t row = 8 * i + lane / 4;
    // Rows past the end repeat the last one; their sums go nowhere.
    const int64_t source = AtMost(first + row, rows - 1);
    CopyAsync16(to + row * kRowAlignBytes + lane % 4 * 16,
                from + source * row_words + block * kBlockWords + 4 * (lane % 4));
  }
}

// The lane's 16 bytes of a row of a piece.
SIMT_DEVICE Vec<uint32_t, 4> LoadPiece(const unsigned char* piece, int32_t row) {
  const auto t = static_cast<int32_t>(Lane() % 4);
  return LoadVec<uint32_t, 4>(
      reinterpret_cast<const uint32_t*>(piece + row * kRowAlignBytes + 16 * t));
}

template <class Value, int kStages>
SIMT_KERNEL_BLOCKS(kLinearWarps * 32, 1)
WideKernel(SkinnyParams p) {
  SIMT_DYNAMIC_SHARED(shared);
  ReleaseSuccessor();

  const auto warp = static_cast<int32_t>(Warp());
  const auto g = static_cast<int32_t>(Lane() / 4);
  const int32_t first_output = static_cast<int32_t>(BlockX()) * kSide;
  const int32_t first_row = static_cast<int32_t>(BlockY()) * kSide;
  const int32_t blocks = p.row_words / kBlockWords;
  unsigned char* const ring = shared + warp * kStages * kStageBytes;
  const auto copy_weights = [&](int32_t block, unsigned char* stage) {
    CopyPiece(stage, p.weights, first_output, p.outputs, p.row_words, block);
  };
  const auto copy_x = [&](int32_t block, unsigned char* stage) {
    CopyPiece(stage + kPieceBytes, p.x, first_row, p.rows, p.row_words, block);
  };

  SIMT_UNROLL
  for (int s = 0; s < kStages; ++s) {
    const int32_t block = warp + kLinearWarps * s;
    if (block < blocks) copy_weights(block, ring + s * kStageBytes);
  }
  WaitForPredecessor();
  SIMT_UNROLL
  for (int s = 0; s < kStages; ++s) {
    const int32_t block = warp + kLinearWarps * s;
    if (block < blocks) copy_x(block, ring + s * kStageBytes);
    CommitCopies();  // the first group has all of the weights so far
  }

  SumOf<Value> sums[kRowTiles][kBatchTiles][4];
  ToZero(sums);
  unsigned char* stage = ring;
  for (int32_t block = warp; block < blocks; block += kLinearWarps) {
    WaitCopies<kStages - 1>();
    Vec<uint32_t, 4> w[kRowTiles][2];
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      w[r][0] = LoadPiece(stage, 16 * r + g);
      w[r][1] = LoadPiece(stage, 16 * r + 8 + g);
    }
    SIMT_UNROLL
    for (int j = 0; j < kBatchTiles; ++j) {
      const Vec<uint32_t, 4> x = LoadPiece(stage + kPieceBytes, 8 * j + g);
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) MultiplyBlock<Value>(sums[r][j], w[r][0], w[r][1], x);
    }
    const int32_t next = block + kLinearWarps * kStages;
    if (next < blocks) {
      copy_weights(next, stage);
      copy_x(next, stage);
    }
    CommitCopies();  // also without copies: one group a round
    stage = stage + kStageBytes == ring + kStages * kStageBytes ? ring : stage + kStageBytes;
  }
  WaitCopies<0>();
  SyncThreads();  // the rings become the sums' place
  AddWarps(sums, reinterpret_cast<SumOf<Value>*>(shared), first_output, p.outputs, first_row,
           p.rows, [&](int32_t row, int32_t output, SumOf<Value> sum) {
             StoreProduct<Value>(p, row, output, sum);
           });
}

template <class Value, int kStages>
int Launch(const SkinnyParams& p, Stream stream) {
  LaunchShape shape = LinearWarpsShape<SumOf<Value>, kRowTiles, kBatchTiles>(p.outputs, p.rows);
  static_assert(SharedBytes(2) >= kLinearWarps * kRowTiles * kBatchTiles * 4 * 32 * 4);
  shape.shared_bytes = SharedBytes(kStages);
  return cuda::Launch(WideKernel<Value, kStages>, shape, stream, p);
}

}  // namespace

bool TakesWide(const SkinnyParams& p, int32_t max_shared_bytes) {
  return p.rows > 32 && p.terms == 1 && max_shared_bytes >= SharedBytes(2);
}

template <class Value>
int LaunchWide(const SkinnyParams& p, int32_t max_shared_bytes, Stream stream) {
  return max_shared_bytes >= SharedBytes(kMaxStages) ? Launch<Value, kMaxStages>(p, stream)
                                                     : Launch<Value, 2>(p, stream);
}
template int LaunchWide<Bf16>(const SkinnyParams&, int32_t, Stream);
template int LaunchWide<Half>(const SkinnyParams&, int32_t, Stream);
template int LaunchWide<int8_t>(const SkinnyParams&, int32_t, Stream);

int code::LoadLinearWide() {
  return LoadKernels(WideKernel<Bf16, 2>, WideKernel<Bf16, kMaxStages>, WideKernel<Half, 2>,
                     WideKernel<Half, kMaxStages>, WideKernel<int8_t, 2>,
                     WideKernel<int8_t, kMaxStages>);
}

}  // namespace inferd::cuda
