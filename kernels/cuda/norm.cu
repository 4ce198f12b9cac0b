// y = x / sqrt(mean(x^2) + eps) * weight over rows and over heads of rows.
// Rows: one block each, sums by thread, then warp, then block, in f32; the row stays
// in registers (what is past 8192 columns is read again). Heads: one warp each.
#include "cuda/code.h"
#include "cuda/reduce.h"
#include "cuda/row_access.h"
#include "cuda/rows.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kHeld = 8;  // vectors a thread keeps

template <int kSize>
SIMT_KERNEL_BLOCKS(kThreads, 2)
NormKernel(NormParams p) {
  SIMT_SHARED(sums, Array<float, kWarps>);
  SIMT_SHARED(maxima, Array<float, kWarps>);
  constexpr int64_t kStep = int64_t{kThreads} * kSize;
  const int64_t row = BlockX();
  const int64_t first = int64_t{ThreadX()} * kSize;
  const bool add = p.y.data != nullptr;
  float held[kHeld][kSize];
  ReleaseSuccessor();
  WaitForPredecessor();

  float sum = 0;
  const auto take = [&](int64_t c, float(&x)[kSize]) {
    LoadColumns<kSize>(p.x, row, c, x);
    if (add) {
      float y[kSize];
      LoadColumns<kSize>(p.y, row, c, y);
      SIMT_UNROLL
      for (int i = 0; i < kSize; ++i) x[i] += y[i];
      StoreColumns<kSize>(p.x, row, c, x);
      // The norm is of what was stored.
      if (p.x.type != Element::kF32) LoadColumns<kSize>(p.x, row, c, x);
    }
    SIMT_UNROLL
    for (int i = 0; i < kSize; ++i) sum = fmaf(x[i], x[i], sum);
  };
  SIMT_UNROLL
  for (int h = 0; h < kHeld; ++h) {
    if (first + h * kStep < p.columns) take(first + h * kStep, held[h]);
  }
  for (int64_t c = first + kHeld * kStep; c < p.columns; c += kStep) {
    float x[kSize];
    take(c, x);
  }
  sum = BlockReduce(sum, &sums[0], AddOperation{});
  const float scale = 1.0F / sqrtf(sum / static_cast<float>(p.columns) + p.eps);

  // Calls use(column, normalised values).
  const auto visit = [&](auto use) {
    const auto normalise = [&](int64_t c, const float(&x)[kSize]) {
      float w[kSize];
      LoadFloats<kSize>(p.weight + c, w);
      SIMT_UNROLL
      for (int i = 0; i < kSize; ++i) w[i] = x[i] * scale * w[i];
      use(c, w);
    };
    SIMT_UNROLL
    for (int h = 0; h < kHeld; ++h) {
      if (first + h * kStep < p.columns) normalise(first + h * kStep, held[h]);
    }
    for (int64_t c = first + kHeld * kStep; c < p.columns; c += kStep) {
      float x[kSize];
      LoadColumns<kSize>(p.x, row, c, x);
      normalise(c, x);
    }
  };
  // Before out is written, which may be x.
  if (p.rounded.values != nullptr) {
    float largest = 0;
    visit([&](int64_t, const float(&v)[kSize]) {
      SIMT_UNROLL
      for (int i = 0; i < kSize; ++i) largest = fmaxf(largest, Magnitude(v[i]));
    });
    largest = BlockReduce(largest, &maxima[0], MaxOperation{});
    const Rounding rounding = RoundingOf(largest);
    int8_t* const to = p.rounded.values + row * p.rounded.padded;
    visit([&](int64_t c, const float(&v)[kSize]) { StoreRounded<kSize>(to + c, v, rounding); });
    for (int64_t c = p.columns + ThreadX(); c < p.rounded.padded; c += kThreads) to[c] = 0;
    if (ThreadX() == 0) p.rounded.scales[row] = rounding.scale;
  }
  if (p.out.data != nullptr) {
    visit([&](int64_t c, const float(&v)[kSize]) { StoreColumns<kSize>(p.out, row, c, v); });
    const float zero[1] = {0};
    for (int64_t c = p.columns + ThreadX(); c < p.zero_to; c += kThreads) {
      StoreColumns<1>(p.out, row, c, zero);
    }
  }
}

constexpr int kMaxHeadDim = 256;
constexpr int kPerLane = kMaxHeadDim / 32;

SIMT_KERNEL(kThreads) HeadNormKernel(HeadNormParams p) {
  const int64_t row = BlockX();
  const auto head = static_cast<int32_t>(BlockY() * kWarps + Warp());
  ReleaseSuccessor();
  WaitForPredecessor();
  if (head < p.num_heads) {
    const int64_t start = int64_t{p.first_head + head} * p.head_dim;
    float held[kPerLane][1];
    float sum = 0;
    SIMT_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      const auto d = static_cast<int32_t>(Lane()) + 32 * j;
      if (d >= p.head_dim) continue;
      LoadColumns<1>(p.x, row, start + d, held[j]);
      sum = fmaf(held[j][0], held[j][0], sum);
    }
    sum = WarpReduce(sum, AddOperation{});
    const float scale = 1.0F / sqrtf(sum / static_cast<float>(p.head_dim) + p.eps);
    SIMT_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      const auto d = static_cast<int32_t>(Lane()) + 32 * j;
      if (d >= p.head_dim) continue;
      held[j][0] = held[j][0] * scale * p.weight[d];
      StoreColumns<1>(p.x, row, start + d, held[j]);
    }
  }
}

}  // namespace

int RmsNorm(const NormParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  if (p.y.data != nullptr && p.out.data == p.x.data) return kBadArguments;
  const bool fours = TakesFours(p.x, p.columns) &&
                     (p.y.data == nullptr || TakesFours(p.y, p.columns)) &&
                     (p.out.data == nullptr || TakesFours(p.out, p.columns)) &&
                     (p.rounded.values == nullptr || TakesFours(p.rounded, p.columns)) &&
                     reinterpret_cast<uintptr_t>(p.weight) % 16 == 0;
  return Launch(fours ? NormKernel<4> : NormKernel<1>,
                {.grid = {static_cast<unsigned>(p.num_rows)},
                 .block = {kThreads},
                 .shared_bytes = 0,
                 .early = true},
                stream, p);
}

int HeadRmsNorm(const HeadNormParams& p, Stream stream) {
  if (p.num_rows == 0 || p.num_heads == 0) return 0;
  if (p.head_dim > kMaxHeadDim) return kBadArguments;
  const auto blocks = static_cast<unsigned>((p.num_heads + kWarps - 1) / kWarps);
  return Launch(HeadNormKernel,
                {.grid = {static_cast<unsigned>(p.num_rows), blocks},
                 .block = {kThreads},
                 .shared_bytes = 0,
                 .early = true},
                stream, p);
}

int code::LoadNorm() { return LoadKernels(NormKernel<4>, NormKernel<1>, HeadNormKernel); }

}  // namespace inferd::cuda
