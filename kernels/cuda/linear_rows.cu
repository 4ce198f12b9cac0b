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
// `most`: the largest number of the format that is rounded to.
SIMT_DEVICE Rounding RoundingOf(const Largest& largest, float most) {
  if (!largest.finite) return {0.0F, FloatFromBits(0x7FC00000U)};
  const float factor = most / largest.value;
  // Too small to have a reciprocal counts as zero.
  if (!(largest.value > 0.0F) || !Finite(factor)) return {0.0F, 0.0F};
  return {factor, largest.value / most};
}

// What x is rounded to, and as what it is stored.
struct ToInt8 {
  using Stored = int8_t;
  static constexpr float kMost = 127.0F;
  static SIMT_DEVICE Stored Round(float x) { return static_cast<int8_t>(rintf(x)); }
};
struct ToE4m3 {
  using Stored = E4m3;
  static constexpr float kMost = kE4m3Max;
  static SIMT_DEVICE Stored Round(float x) { return FromFloat<E4m3>(x); }
};
struct ToWideE4m3 {
  using Stored = Bf16;
  static constexpr float kMost = kE4m3Max;
  static SIMT_DEVICE Stored Round(float x) { return FromFloat<Bf16>(ToFloat(FromFloat<E4m3>(x))); }
};

// Without a factor everything is zero, what is not finite as well.
template <class Format>
SIMT_DEVICE typename Format::Stored Round(float x, const Rounding& rounding) {
  return Format::Round(rounding.factor == 0.0F ? 0.0F : x * rounding.factor);
}

template <class Stored>
struct RoundRowsParams {
  const float* x;
  Stored* q;
  float* scales;
  int32_t inputs;
  int32_t padded;
  int32_t group;
};

// One group a row: the whole block looks for its largest.
template <class Format>
SIMT_KERNEL(kThreads)
QuantizeRowKernel(RoundRowsParams<typename Format::Stored> p) {
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
  const Rounding rounding = RoundingOf(largest, Format::kMost);
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.padded; i += kThreads) {
    p.q[row * p.padded + i] = Round<Format>(i < p.inputs ? x[i] : 0.0F, rounding);
  }
  if (ThreadX() == 0) p.scales[row] = rounding.scale;
  ReleaseSuccessor();
}

// A warp takes every eighth group of the row.
template <class Format>
SIMT_KERNEL(kThreads)
QuantizeGroupsKernel(RoundRowsParams<typename Format::Stored> p) {
  const auto row = static_cast<int64_t>(BlockX());
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t groups = p.inputs / p.group;
  WaitForPredecessor();
  for (auto group = static_cast<int32_t>(Warp()); group < groups; group += kWarps) {
    const float* const x = p.x + row * p.inputs + int64_t{group} * p.group;
    auto* const q = p.q + row * p.padded + int64_t{group} * p.group;
    Largest largest = {0.0F, true};
    for (int32_t i = lane; i < p.group; i += 32) {
      const float value = fabsf(x[i]);
      largest.finite = largest.finite && Finite(value);
      largest.value = value > largest.value ? value : largest.value;
    }
    const Rounding rounding = RoundingOf(WarpLargest(largest), Format::kMost);
    for (int32_t i = lane; i < p.group; i += 32) q[i] = Round<Format>(x[i], rounding);
    if (lane == 0) p.scales[row * groups + group] = rounding.scale;
  }
  for (int32_t i = p.inputs + static_cast<int32_t>(ThreadX()); i < p.padded; i += kThreads) {
    p.q[row * p.padded + i] = Format::Round(0.0F);
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

SIMT_KERNEL(kThreads) ScaleFp8SumsKernel(LinearFp8Params p) {
  const auto row = static_cast<int64_t>(BlockX());
  WaitForPredecessor();
  const float x_scale = p.x_scales[row];
  for (auto i = static_cast<int32_t>(ThreadX() + BlockY() * kThreads); i < p.outputs;
       i += static_cast<int32_t>(GridDimY()) * kThreads) {
    float* const out = p.out + row * p.outputs + i;
    const float result = *out * (x_scale * p.weight_scales[i]);
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

template <class Format>
int RoundRows(const RoundRowsParams<typename Format::Stored>& p, int32_t rows, Stream stream) {
  if (rows <= 0) return 0;
  if (p.group <= 0 || p.inputs % p.group != 0 || p.padded < p.inputs) return kBadArguments;
  return Launch(p.group == p.inputs ? QuantizeRowKernel<Format> : QuantizeGroupsKernel<Format>,
                RowShape(rows), stream, p);
}

}  // namespace

int SplitToBf16(SplitParams p, Stream stream) {
  if (p.rows <= 0) return 0;
  if (p.terms < 1 || p.padded < p.inputs) return kBadArguments;
  return Launch(SplitKernel, RowShape(p.rows), stream, p);
}

int QuantizeRows(QuantizeParams p, Stream stream) {
  return RoundRows<ToInt8>({p.x, p.q, p.scales, p.inputs, p.padded, p.group}, p.rows, stream);
}

int QuantizeRowsFp8(QuantizeFp8Params p, Stream stream) {
  if (p.wide) {
    return RoundRows<ToWideE4m3>(
        {p.x, static_cast<Bf16*>(p.q), p.scales, p.inputs, p.padded, p.group}, p.rows, stream);
  }
  return RoundRows<ToE4m3>({p.x, static_cast<E4m3*>(p.q), p.scales, p.inputs, p.padded, p.group},
                           p.rows, stream);
}

int ScaleFp8Sums(LinearFp8Params p, Stream stream) {
  if (p.rows <= 0 || p.outputs <= 0) return 0;
  return Launch(ScaleFp8SumsKernel, RowShape(p.rows, ColumnBlocks(p.outputs)), stream, p);
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
