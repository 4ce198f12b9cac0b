// out = gate / (1 + exp(-gate)) * up. Without rounding a block takes 1024 columns of
// a row; with it, all of a row, computed twice: for the largest, then for the values.
#include "cuda/code.h"
#include "cuda/reduce.h"
#include "cuda/row_access.h"
#include "cuda/rows.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kBlockColumns = kThreads * 4;

template <int kSize>
SIMT_DEVICE void Compute(const SiluParams& p, int64_t row, int64_t c, float (&out)[kSize]) {
  float gate[kSize];
  LoadColumns<kSize>(p.gate_up, row, c, gate);
  LoadColumns<kSize>(p.gate_up, row, p.columns + c, out);
  SIMT_UNROLL
  for (int i = 0; i < kSize; ++i) out[i] *= gate[i] / (1.0F + FastExp(-gate[i]));
}

template <int kSize>
SIMT_KERNEL(kThreads)
SiluKernel(SiluParams p) {
  const int64_t row = BlockX();
  const int64_t first = int64_t{BlockY()} * kBlockColumns;
  const int64_t end = first + kBlockColumns < p.columns ? first + kBlockColumns : p.columns;
  ReleaseSuccessor();
  WaitForPredecessor();
  for (int64_t c = first + int64_t{ThreadX()} * kSize; c < end; c += int64_t{kThreads} * kSize) {
    float v[kSize];
    Compute<kSize>(p, row, c, v);
    StoreColumns<kSize>(p.out, row, c, v);
  }
  if (BlockY() == GridDimY() - 1) {
    const float zero[1] = {0};
    for (int64_t c = p.columns + ThreadX(); c < p.zero_to; c += kThreads) {
      StoreColumns<1>(p.out, row, c, zero);
    }
  }
}

template <int kSize>
SIMT_KERNEL(kThreads)
SiluRoundKernel(SiluParams p) {
  SIMT_SHARED(maxima, Array<float, kWarps>);
  constexpr int64_t kStep = int64_t{kThreads} * kSize;
  const int64_t row = BlockX();
  const int64_t first = int64_t{ThreadX()} * kSize;
  ReleaseSuccessor();
  WaitForPredecessor();
  float largest = 0;
  for (int64_t c = first; c < p.columns; c += kStep) {
    float v[kSize];
    Compute<kSize>(p, row, c, v);
    SIMT_UNROLL
    for (int i = 0; i < kSize; ++i) largest = fmaxf(largest, Magnitude(v[i]));
  }
  largest = BlockReduce(largest, &maxima[0], MaxOperation{});
  const Rounding rounding = RoundingOf(largest);
  int8_t* const to = p.rounded.values + row * p.rounded.padded;
  for (int64_t c = first; c < p.columns; c += kStep) {
    float v[kSize];
    Compute<kSize>(p, row, c, v);
    StoreRounded<kSize>(to + c, v, rounding);
    if (p.out.data != nullptr) StoreColumns<kSize>(p.out, row, c, v);
  }
  for (int64_t c = p.columns + ThreadX(); c < p.rounded.padded; c += kThreads) to[c] = 0;
  if (ThreadX() == 0) p.rounded.scales[row] = rounding.scale;
}

}  // namespace

int SiluMul(const SiluParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  const bool round = p.rounded.values != nullptr;
  const bool fours = TakesFours(p.gate_up, p.columns) &&
                     (p.out.data == nullptr || TakesFours(p.out, p.columns)) &&
                     (!round || TakesFours(p.rounded, p.columns));
  const auto rows = static_cast<unsigned>(p.num_rows);
  if (round) {
    if (p.zero_to > p.columns) return kBadArguments;
    return Launch(fours ? SiluRoundKernel<4> : SiluRoundKernel<1>,
                  {.grid = {rows}, .block = {kThreads}, .shared_bytes = 0, .early = true}, stream,
                  p);
  }
  const auto blocks = static_cast<unsigned>((p.columns + kBlockColumns - 1) / kBlockColumns);
  return Launch(fours ? SiluKernel<4> : SiluKernel<1>,
                {.grid = {rows, blocks}, .block = {kThreads}, .shared_bytes = 0, .early = true},
                stream, p);
}

int code::LoadSilu() {
  return LoadKernels(SiluKernel<4>, SiluKernel<1>, SiluRoundKernel<4>, SiluRoundKernel<1>);
}

}  // namespace inferd::cuda
