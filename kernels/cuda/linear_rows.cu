// What x goes through before and after a matrix product: bf16 terms, int8 with
// scales, and the scaling of integer sums. One block a row; bound by bytes.
#include "cuda/linear.h"
#include "cuda/number.h"
#include "cuda/simt.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// planes[term][row][i]: x = sum of the terms, each the bf16 nearest to what is left.
SIMT_KERNEL(kThreads) SplitKernel(SplitParams p) {
  const auto row = static_cast<int64_t>(BlockX());
  WaitForPredecessor();
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.padded; i += kThreads) {
    float rest = i < p.inputs ? p.x[row * p.inputs + i] : 0.0F;
    for (int term = 0; term < p.terms; ++term) {
      const Bf16 rounded = FromFloat<Bf16>(rest);
      p.planes[(int64_t{term} * p.rows + row) * p.padded + i] = rounded.bits;
      const float value = ToFloat(rounded);
      // What is not finite stays so through its first term alone.
      rest = fabsf(value) <= 3.4028235e38F ? rest - value : 0.0F;
    }
  }
  ReleaseSuccessor();
}

SIMT_DEVICE bool Finite(float x) { return fabsf(x) <= 3.4028235e38F; }

// The largest |x| of what a thread saw, or NaN when something was not finite.
struct Largest {
  float value;
  bool finite;
};

SIMT_DEVICE Largest WarpLargest(Largest own) {
  SIMT_UNROLL
  for (unsigned bits = 16; bits > 0; bits /= 2) {
    const float other = ShflXor(own.value, bits);
    own.value = other > own.value ? other : own.value;
  }
  own.finite = Ballot(!own.finite) == 0;
  return own;
}

struct Rounding {
  float factor;  // 0: all zeros
  float scale;
};
SIMT_DEVICE Rounding RoundingOf(const Largest& largest) {
  if (!largest.finite) return {0.0F, FloatFromBits(0x7FC00000U)};
  const float factor = 127.0F / largest.value;
  // Too small to have a reciprocal counts as zero.
  if (!(largest.value > 0.0F) || !Finite(factor)) return {0.0F, 0.0F};
  return {factor, largest.value / 127.0F};
}

SIMT_DEVICE int8_t Round(float x, const Rounding& rounding) {
  return rounding.factor == 0.0F ? int8_t{0} : static_cast<int8_t>(rintf(x * rounding.factor));
}

// One group a row: the whole block looks for its largest.
SIMT_KERNEL(kThreads) QuantizeRowKernel(QuantizeParams p) {
  using Values = Array<float, kWarps>;
  using Flags = Array<int, kWarps>;
  SIMT_SHARED(values, Values);
  SIMT_SHARED(flags, Flags);
  const auto row = static_cast<int64_t>(BlockX());
  const float* const x = p.x + row * p.inputs;
  WaitForPredecessor();
  Largest largest = {0.0F, true};
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.inputs; i += kThreads) {
    const float value = fabsf(x[i]);
    largest.finite = largest.finite && Finite(value);
    largest.value = value > largest.value ? value : largest.value;
  }
  largest = WarpLargest(largest);
  if (Lane() == 0) {
    values[static_cast<int>(Warp())] = largest.value;
    flags[static_cast<int>(Warp())] = largest.finite ? 1 : 0;
  }
  SyncThreads();
  SIMT_UNROLL
  for (int w = 0; w < kWarps; ++w) {
    largest.value = values[w] > largest.value ? values[w] : largest.value;
    largest.finite = largest.finite && flags[w] != 0;
  }
  const Rounding rounding = RoundingOf(largest);
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.padded; i += kThreads) {
    p.q[row * p.padded + i] = i < p.inputs ? Round(x[i], rounding) : int8_t{0};
  }
  if (ThreadX() == 0) p.scales[row] = rounding.scale;
  ReleaseSuccessor();
}

// A warp takes every eighth group of the row.
SIMT_KERNEL(kThreads) QuantizeGroupsKernel(QuantizeParams p) {
  const auto row = static_cast<int64_t>(BlockX());
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t groups = p.inputs / p.group;
  WaitForPredecessor();
  for (auto group = static_cast<int32_t>(Warp()); group < groups; group += kWarps) {
    const float* const x = p.x + row * p.inputs + int64_t{group} * p.group;
    int8_t* const q = p.q + row * p.padded + int64_t{group} * p.group;
    Largest largest = {0.0F, true};
    for (int32_t i = lane; i < p.group; i += 32) {
      const float value = fabsf(x[i]);
      largest.finite = largest.finite && Finite(value);
      largest.value = value > largest.value ? value : largest.value;
    }
    const Rounding rounding = RoundingOf(WarpLargest(largest));
    for (int32_t i = lane; i < p.group; i += 32) q[i] = Round(x[i], rounding);
    if (lane == 0) p.scales[row * groups + group] = rounding.scale;
  }
  for (int32_t i = p.inputs + static_cast<int32_t>(ThreadX()); i < p.padded; i += kThreads) {
    p.q[row * p.padded + i] = 0;
  }
  ReleaseSuccessor();
}

SIMT_KERNEL(kThreads) ScaleSumsKernel(LinearInt8Params p) {
  const auto row = static_cast<int64_t>(BlockX());
  WaitForPredecessor();
  const float x_scale = p.x_scales[row];
  for (auto i = static_cast<int32_t>(ThreadX() + BlockY() * kThreads); i < p.outputs;
       i += static_cast<int32_t>(GridDimY()) * kThreads) {
    float* const out = p.out + row * p.outputs + i;
    const auto sum = static_cast<int32_t>(BitsOfFloat(*out));
    const float result = static_cast<float>(sum) * (x_scale * p.weight_scales[i]);
    *out = p.bias != nullptr ? result + p.bias[i] : result;
  }
  ReleaseSuccessor();
}

SIMT_KERNEL(kThreads) BiasKernel(BiasParams p) {
  const auto row = static_cast<int64_t>(BlockX());
  WaitForPredecessor();
  for (auto i = static_cast<int32_t>(ThreadX() + BlockY() * kThreads); i < p.outputs;
       i += static_cast<int32_t>(GridDimY()) * kThreads) {
    p.out[row * p.outputs + i] += p.bias[i];
  }
  ReleaseSuccessor();
}

LaunchShape RowShape(int32_t rows, unsigned columns = 1) {
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(rows), columns};
  shape.block = {kThreads};
  shape.early = true;
  return shape;
}

unsigned ColumnBlocks(int32_t columns) {
  constexpr unsigned kMost = 8;
  const auto blocks = static_cast<unsigned>(RoundUp(columns, kThreads) / kThreads);
  return blocks < kMost ? blocks : kMost;
}

}  // namespace

int SplitToBf16(SplitParams p, Stream stream) {
  if (p.rows <= 0) return 0;
  if (p.terms < 1 || p.padded < p.inputs) return kBadArguments;
  return Launch(SplitKernel, RowShape(p.rows), stream, p);
}

int QuantizeRows(QuantizeParams p, Stream stream) {
  if (p.rows <= 0) return 0;
  if (p.group <= 0 || p.inputs % p.group != 0 || p.padded < p.inputs) return kBadArguments;
  return Launch(p.group == p.inputs ? QuantizeRowKernel : QuantizeGroupsKernel, RowShape(p.rows),
                stream, p);
}

int ScaleInt8Sums(LinearInt8Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(ScaleSumsKernel, RowShape(p.rows, ColumnBlocks(p.outputs)), stream, p);
}

int AddBias(BiasParams p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(BiasKernel, RowShape(p.rows, ColumnBlocks(p.outputs)), stream, p);
}

}  // namespace inferd::cuda
