// What x goes through before a matrix product: bf16 and f16 terms, 8 bits with scales. Bound by
// bytes, of few rows by latency.
#include "cuda/code.h"
#include "cuda/linear.h"
#include "cuda/number.h"
#include "cuda/reduce.h"
#include "cuda/simt.h"
#include "cuda/vec.h"

namespace inferd::cuda {
namespace {

constexpr int kThreads = 256;
// Of a kernel whose block goes over a whole row, twice: one row has one block.
constexpr int kRowThreads = 1024;
constexpr int kRowWarps = kRowThreads / 32;

SIMT_DEVICE bool Finite(float x) { return fabsf(x) <= 3.4028235e38F; }

// The bits of the T nearest to `rest`, which is what is left then.
template <class T>
SIMT_DEVICE uint16_t NextTerm(float& rest) {
  const T rounded = FromFloat<T>(rest);
  const float value = ToFloat(rounded);
  // What is not finite stays so through its first term alone.
  rest = Finite(value) ? rest - value : 0.0F;
  return rounded.bits;
}

// planes[term][row][i]: x = sum of the terms, each the bf16 nearest to what is left.
// A thread takes kSize neighbouring inputs; where rows of x are not aligned, one.
template <int kSize>
SIMT_KERNEL(kThreads)
SplitKernel(SplitParams p) {
  const auto row = static_cast<int64_t>(BlockX());
  const auto i = static_cast<int32_t>(BlockY() * kThreads + ThreadX()) * kSize;
  ReleaseSuccessor();
  WaitForPredecessor();
  if (i >= p.padded) return;
  float rest[kSize] = {};
  if (i < p.inputs) LoadFloats<kSize>(p.x + row * p.inputs + i, rest);
  for (int term = 0; term < p.terms; ++term) {
    Vec<uint16_t, kSize> bits;
    SIMT_UNROLL
    for (int j = 0; j < kSize; ++j) bits.v[j] = NextTerm<Bf16>(rest[j]);
    StoreVec<uint16_t, kSize>(p.planes + (int64_t{term} * p.rows + row) * p.padded + i, bits);
  }
}

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
SIMT_KERNEL(kRowThreads)
QuantizeRowKernel(RoundRowsParams<typename Format::Stored> p) {
  using Values = Array<float, kRowWarps>;
  using Flags = Array<int, kRowWarps>;
  SIMT_SHARED(values, Values);
  SIMT_SHARED(flags, Flags);
  const auto row = static_cast<int64_t>(BlockX());
  const float* const x = p.x + row * p.inputs;
  ReleaseSuccessor();
  WaitForPredecessor();
  Largest largest = {0.0F, true};
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.inputs; i += kRowThreads) {
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
  for (int w = 0; w < kRowWarps; ++w) {
    largest.value = values[w] > largest.value ? values[w] : largest.value;
    largest.finite = largest.finite && flags[w] != 0;
  }
  const Rounding rounding = RoundingOf(largest, Format::kMost);
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.padded; i += kRowThreads) {
    p.q[row * p.padded + i] = Round<Format>(i < p.inputs ? x[i] : 0.0F, rounding);
  }
  if (ThreadX() == 0) p.scales[row] = rounding.scale;
}

// A power of two that puts the row's largest finite number below 2^15, or as near as a factor
// that is a normal number comes.
SIMT_DEVICE Rounding HalfScale(float largest) {
  constexpr uint32_t kBias = 127;
  constexpr uint32_t kMost = 14;  // 2^14 <= the largest < 2^15
  const uint32_t exponent = BitsOfFloat(largest) >> 23;
  const uint32_t scale = exponent > kMost ? exponent - kMost : 1U;
  return {FloatFromBits((2 * kBias - scale) << 23), FloatFromBits(scale << 23)};
}

// planes[term][row][i]: x = scale * sum of the terms, each the f16 nearest to what is left.
SIMT_KERNEL(kRowThreads) SplitHalfKernel(SplitHalfParams p) {
  using Values = Array<float, kRowWarps>;
  SIMT_SHARED(values, Values);
  const auto row = static_cast<int64_t>(BlockX());
  const float* const x = p.x + row * p.inputs;
  ReleaseSuccessor();
  WaitForPredecessor();
  float largest = 0;
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.inputs; i += kRowThreads) {
    const float value = fabsf(x[i]);
    if (Finite(value) && value > largest) largest = value;
  }
  const Rounding rounding = HalfScale(BlockReduce(largest, &values[0], MaxOperation{}));
  for (auto i = static_cast<int32_t>(ThreadX()); i < p.padded; i += kRowThreads) {
    float rest = i < p.inputs ? x[i] * rounding.factor : 0.0F;
    for (int term = 0; term < p.terms; ++term) {
      p.planes[(int64_t{term} * p.rows + row) * p.padded + i] = NextTerm<Half>(rest);
    }
  }
  if (ThreadX() == 0) p.scales[row] = rounding.scale;
}

// A warp takes every 32nd group of the row.
template <class Format>
SIMT_KERNEL(kRowThreads)
QuantizeGroupsKernel(RoundRowsParams<typename Format::Stored> p) {
  const auto row = static_cast<int64_t>(BlockX());
  const auto lane = static_cast<int32_t>(Lane());
  const int32_t groups = p.inputs / p.group;
  ReleaseSuccessor();
  WaitForPredecessor();
  for (auto group = static_cast<int32_t>(Warp()); group < groups; group += kRowWarps) {
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
  for (int32_t i = p.inputs + static_cast<int32_t>(ThreadX()); i < p.padded; i += kRowThreads) {
    p.q[row * p.padded + i] = Format::Round(0.0F);
  }
}

LaunchShape RowShape(int32_t rows, unsigned columns, unsigned threads = kThreads) {
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(rows), columns};
  shape.block = {threads};
  shape.early = true;
  return shape;
}

template <class Format>
int RoundRows(const RoundRowsParams<typename Format::Stored>& p, int32_t rows, Stream stream) {
  if (rows <= 0) return 0;
  if (p.group <= 0 || p.inputs % p.group != 0 || p.padded < p.inputs) return kBadArguments;
  return Launch(p.group == p.inputs ? QuantizeRowKernel<Format> : QuantizeGroupsKernel<Format>,
                RowShape(rows, 1, kRowThreads), stream, p);
}

}  // namespace

int SplitToBf16(SplitParams p, Stream stream) {
  if (p.rows <= 0) return 0;
  if (p.terms < 1 || p.padded < p.inputs) return kBadArguments;
  constexpr int kFour = 4;
  const bool fours = p.inputs % kFour == 0 && p.padded % kFour == 0 &&
                     reinterpret_cast<uintptr_t>(p.x) % 16 == 0 &&
                     reinterpret_cast<uintptr_t>(p.planes) % 8 == 0;
  const int32_t columns = kThreads * (fours ? kFour : 1);
  return Launch(fours ? SplitKernel<kFour> : SplitKernel<1>,
                RowShape(p.rows, static_cast<unsigned>(RoundUp(p.padded, columns) / columns)),
                stream, p);
}

int SplitToHalf(SplitHalfParams p, Stream stream) {
  if (p.rows <= 0) return 0;
  if (p.terms < 1 || p.padded < p.inputs) return kBadArguments;
  return Launch(SplitHalfKernel, RowShape(p.rows, 1, kRowThreads), stream, p);
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

int code::LoadLinearRows() {
  return LoadKernels(SplitKernel<1>, SplitKernel<4>, SplitHalfKernel, QuantizeRowKernel<ToInt8>,
                     QuantizeGroupsKernel<ToInt8>, QuantizeRowKernel<ToE4m3>,
                     QuantizeGroupsKernel<ToE4m3>, QuantizeRowKernel<ToWideE4m3>,
                     QuantizeGroupsKernel<ToWideE4m3>);
}

}  // namespace inferd::cuda
