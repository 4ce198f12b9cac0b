// Floating point from registers to registers: f32, f64, and pairs of 16-bit numbers.
//
// Sums and products without a rounding are rounded to nearest here; ptxas may still fuse
// them. Approximations (ex2, lg2, rcp, sqrt, ...) are as exact as the host's functions.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cuda/ptx/formats.h"
#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
template <Rounding kRounding>
struct FmaRounded {
  float operator()(float a, float b, float c) const { return FusedMultiplyAdd(a, b, c, kRounding); }
};
// Where one is NaN the other; -0 below +0.
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    if (a == b) return std::signbit(a) ? a : b;
    return std::fmin(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    if (a == b) return std::signbit(a) ? b : a;
    return std::fmax(a, b);
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct Rcp {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
// The upper word of a double, numbers below the normal ones being zero.
struct RcpHigh {
  double operator()(double a) const {
    const auto flush = [](double x) {
      return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0, x) : x;
    };
    const auto high = std::bit_cast<uint64_t>(flush(a)) & 0xFFFFFFFF00000000U;
    const double result = flush(1.0 / std::bit_cast<double>(high));
    return std::bit_cast<double>(std::bit_cast<uint64_t>(result) & 0xFFFFFFFF00000000U);
  }
};
struct Sqrt {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Rsqrt {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(1.0 / std::sqrt(double{a}));
  }
};
struct Exp2 {
  float operator()(float a) const { return std::exp2(a); }
};
struct Log2 {
  float operator()(float a) const { return std::log2(a); }
};
struct Sin {
  float operator()(float a) const { return std::sin(a); }
};
struct Cos {
  float operator()(float a) const { return std::cos(a); }
};
struct Tanh {
  float operator()(float a) const { return std::tanh(a); }
};
// .ftz: what is below the normal numbers is a zero, before and after.
template <class Fn>
struct Flushing {
  static float Flush(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }
  template <class... T>
  float operator()(T... a) const {
    return Flush(Fn{}(Flush(a)...));
  }
};

// Each half of a word: a product in double is exact, and so is the rounding of the sum.
struct FmaBf16x2 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 32; shift += 16) {
      // A bf16 is the upper half of an f32.
      const auto value = [shift](uint32_t pair) {
        return double{std::bit_cast<float>((pair >> shift & 0xFFFF) << 16)};
      };
      const double sum = AddToOdd(value(a) * value(b), value(c));
      result |= FromDouble(kBf16Format, sum, false) << shift;
    }
    return result;
  }
};
struct FmaF16x2 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 32; shift += 16) {
      const auto value = [shift](uint32_t pair) {
        return ToDouble(kHalfFormat, pair >> shift & 0xFFFF);
      };
      const double sum = AddToOdd(value(a) * value(b), value(c));
      result |= FromDouble(kHalfFormat, sum, false) << shift;
    }
    return result;
  }
};

template <class Fn, int kSources>
Execute RunOf(Type type, bool flush) {
  const auto pick = []<class F, class T>(F, T) -> Execute {
    if constexpr (kSources == 1) return &Lanewise<F, T, T>::Run;
    if constexpr (kSources == 2) return &Lanewise<F, T, T, T>::Run;
    if constexpr (kSources == 3) return &Lanewise<F, T, T, T, T>::Run;
  };
  if (flush) return type == Type::kF32 ? pick(Flushing<Fn>{}, float{}) : nullptr;
  return ForFloat(type, [&]<class T>(T) -> Execute { return pick(Fn{}, T{}); });
}

void Operands(Decoder& d, Type type, int sources) {
  d.Destination(type);
  for (int i = 0; i < sources; ++i) d.Source(type);
}

// [.rn] [.ftz] type
template <class Fn, int kSources>
void Exact(Decoder& d) {
  d.SkipAny({"rn"});
  const bool flush = d.Skip("ftz");
  const Type type = d.TakeType();
  Operands(d, type, kSources);
  d.instruction().execute = RunOf<Fn, kSources>(type, flush);
}
// .rn, .approx or .full; the last two may differ in their last bits on a device.
template <class Fn, int kSources>
void Rounded(Decoder& d) {
  if (!d.Skip("rn") && !d.Skip("approx") && !d.Skip("full")) d.Fail("a rounding is missing");
  const bool flush = d.Skip("ftz");
  const Type type = d.TakeType();
  Operands(d, type, kSources);
  d.instruction().execute = RunOf<Fn, kSources>(type, flush);
}
template <class Fn>
void Approximate(Decoder& d) {
  if (!d.Skip("approx")) d.Fail(".approx is missing");
  const bool flush = d.Skip("ftz");
  const Type type = d.TakeType();
  if (type != Type::kF32) d.Fail("not .f32");
  Operands(d, type, 1);
  d.instruction().execute =
      flush ? &Lanewise<Flushing<Fn>, float, float>::Run : &Lanewise<Fn, float, float>::Run;
}

void Reciprocal(Decoder& d) {
  const bool approximate = d.Skip("approx");
  if (!approximate && !d.Skip("rn")) d.Fail("a rounding is missing");
  const bool flush = d.Skip("ftz");
  const Type type = d.TakeType();
  Operands(d, type, 1);
  if (type == Type::kF64 && approximate) {
    d.instruction().execute = flush ? &Lanewise<RcpHigh, double, double>::Run : nullptr;
  } else {
    d.instruction().execute = RunOf<Rcp, 1>(type, flush);
  }
}

void MultiplyAdd(Decoder& d) {
  const bool nearest = d.Skip("rn");
  const bool down = !nearest && d.Skip("rm");
  const bool up = !nearest && !down && d.Skip("rp");
  if (!nearest && !down && !up && !d.Skip("rz")) d.Fail("a rounding is missing");
  const Type type = d.TakeType();
  Operands(d, type, 3);
  Execute& execute = d.instruction().execute;
  using W = uint32_t;
  using F = float;
  if (nearest) {
    execute = RunOf<Fma, 3>(type, false);
    if (type == Type::kBf16x2) execute = &Lanewise<FmaBf16x2, W, W, W, W>::Run;
    if (type == Type::kF16x2) execute = &Lanewise<FmaF16x2, W, W, W, W>::Run;
  } else if (type == Type::kF32) {
    execute = down ? &Lanewise<FmaRounded<Rounding::kDown>, F, F, F, F>::Run
              : up ? &Lanewise<FmaRounded<Rounding::kUp>, F, F, F, F>::Run
                   : &Lanewise<FmaRounded<Rounding::kZero>, F, F, F, F>::Run;
  }
}

}  // namespace

bool DecodeFloat(Decoder& d) {
  using Family = void (*)(Decoder&);
  struct Entry {
    const char* opcode;
    Family family;
  };
  static constexpr Entry kEntries[] = {
      {"add", &Exact<Add, 2>},       {"sub", &Exact<Sub, 2>},     {"mul", &Exact<Mul, 2>},
      {"min", &Exact<Min, 2>},       {"max", &Exact<Max, 2>},     {"neg", &Exact<Neg, 1>},
      {"abs", &Exact<Abs, 1>},       {"div", &Rounded<Div, 2>},   {"sqrt", &Rounded<Sqrt, 1>},
      {"rsqrt", &Rounded<Rsqrt, 1>}, {"ex2", &Approximate<Exp2>}, {"lg2", &Approximate<Log2>},
      {"sin", &Approximate<Sin>},    {"cos", &Approximate<Cos>},  {"tanh", &Approximate<Tanh>},
      {"rcp", &Reciprocal},          {"fma", &MultiplyAdd}};
  for (const Entry& entry : kEntries) {
    if (d.opcode() == entry.opcode) {
      entry.family(d);
      return true;
    }
  }
  return false;
}

}  // namespace inferd::cuda::ptx
