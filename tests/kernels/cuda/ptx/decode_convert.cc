// cvt: between integers, floats, and the narrow floats, alone and in pairs.
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cuda/ptx/formats.h"
#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

// A source register may be wider than its type, which is then its lower part; a
// destination may be wider as well, and is filled with zeros or with the sign.
using Convert = void (*)(uint64_t (&values)[kLanes]);

template <Convert kConvert>
void Run(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t values[kLanes];
  warp.Read(i.slots[1], i.widths[1], values);
  kConvert(values);
  warp.Write(i.slots[0], i.widths[0], values, lanes);
}

template <class T>
T Of(uint64_t bits) {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  if constexpr (std::is_same_v<T, double>) return std::bit_cast<double>(bits);
  if constexpr (std::is_integral_v<T>) return static_cast<T>(bits);
}
template <class T>
uint64_t BitsOf(T value) {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<uint32_t>(value);
  if constexpr (std::is_same_v<T, double>) return std::bit_cast<uint64_t>(value);
  if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(
        static_cast<std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(value));
  }
}

template <class D, class S>
void Plain(uint64_t (&values)[kLanes]) {
  for (uint64_t& value : values) value = BitsOf(static_cast<D>(Of<S>(value)));
}

// Beyond the integer's ends its ends; of NaN zero, but the highest bit where 64 bits take
// part.
template <class D, class S, Rounding kRounding>
void ToInteger(uint64_t (&values)[kLanes]) {
  using Limits = std::numeric_limits<D>;
  constexpr bool kLong = sizeof(D) == 8 || sizeof(S) == 8;
  for (uint64_t& value : values) {
    const double x = RoundToInteger(double{Of<S>(value)}, kRounding);
    D result = 0;
    if (std::isnan(x)) {
      result = kLong ? static_cast<D>(uint64_t{1} << (8 * sizeof(D) - 1)) : D{0};
    } else if (x <= static_cast<double>(Limits::min())) {
      result = Limits::min();
    } else if (x >= static_cast<double>(Limits::max())) {
      result = Limits::max();
    } else {
      result = static_cast<D>(x);
    }
    value = BitsOf(result);
  }
}

template <class T, Rounding kRounding>
void ToIntegral(uint64_t (&values)[kLanes]) {
  for (uint64_t& value : values) {
    value = BitsOf(static_cast<T>(RoundToInteger(double{Of<T>(value)}, kRounding)));
  }
}

// To [0, 1], NaN to 0.
void Saturate(uint64_t (&values)[kLanes]) {
  for (uint64_t& value : values) {
    const auto x = Of<float>(value);
    value = BitsOf(x > 0 ? (x < 1 ? x : 1.0F) : 0.0F);
  }
}

struct HalfOf {
  static constexpr Format kFormat = kHalfFormat;
};
struct Bf16Of {
  static constexpr Format kFormat = kBf16Format;
};
struct E4m3Of {
  static constexpr Format kFormat = kE4m3Format;
};

template <class F>
void ToNarrow(uint64_t (&values)[kLanes]) {
  for (uint64_t& value : values) {
    value = FromDouble(F::kFormat, double{Of<float>(value)}, false);
  }
}
template <class F>
void FromNarrow(uint64_t (&values)[kLanes]) {
  for (uint64_t& value : values) {
    const double x = ToDouble(F::kFormat, static_cast<uint32_t>(value) & 0xFFFF);
    value = std::isnan(x) ? 0x7FFFFFFFU : BitsOf(static_cast<float>(x));
  }
}

// d = {a, b}: the first source is the upper half.
template <class F, class Word, bool kFinite>
struct Pack {
  Word operator()(float a, float b) const {
    const uint32_t high = FromDouble(F::kFormat, double{a}, kFinite);
    const uint32_t low = FromDouble(F::kFormat, double{b}, kFinite);
    return static_cast<Word>(high << (4 * sizeof(Word)) | low);
  }
};

template <class S, Rounding kRounding>
Execute ToIntegerOf(Type to) {
  switch (to) {
    case Type::kU16:
      return &Run<&ToInteger<uint16_t, S, kRounding>>;
    case Type::kS16:
      return &Run<&ToInteger<int16_t, S, kRounding>>;
    case Type::kU32:
      return &Run<&ToInteger<uint32_t, S, kRounding>>;
    case Type::kS32:
      return &Run<&ToInteger<int32_t, S, kRounding>>;
    case Type::kU64:
      return &Run<&ToInteger<uint64_t, S, kRounding>>;
    case Type::kS64:
      return &Run<&ToInteger<int64_t, S, kRounding>>;
    default:
      return nullptr;
  }
}

// From a float, rounded to an integer, as an integer or as the same float.
template <Rounding kRounding>
Execute RoundedOf(Type to, Type from) {
  if (from == Type::kF32 && to == Type::kF32) return &Run<&ToIntegral<float, kRounding>>;
  if (from == Type::kF64 && to == Type::kF64) return &Run<&ToIntegral<double, kRounding>>;
  if (from == Type::kF32) return ToIntegerOf<float, kRounding>(to);
  if (from == Type::kF64) return ToIntegerOf<double, kRounding>(to);
  return nullptr;
}

template <class S>
Execute PlainFrom(Type to, bool rounded) {
  const bool to_float = to == Type::kF32 || to == Type::kF64;
  if (to_float != rounded) return nullptr;  // only floats are rounded
  switch (to) {
    case Type::kU8:
      return &Run<&Plain<uint8_t, S>>;
    case Type::kS8:
      return &Run<&Plain<int8_t, S>>;
    case Type::kU16:
      return &Run<&Plain<uint16_t, S>>;
    case Type::kS16:
      return &Run<&Plain<int16_t, S>>;
    case Type::kU32:
      return &Run<&Plain<uint32_t, S>>;
    case Type::kS32:
      return &Run<&Plain<int32_t, S>>;
    case Type::kU64:
      return &Run<&Plain<uint64_t, S>>;
    case Type::kS64:
      return &Run<&Plain<int64_t, S>>;
    case Type::kF32:
      return &Run<&Plain<float, S>>;
    case Type::kF64:
      return &Run<&Plain<double, S>>;
    default:
      return nullptr;
  }
}

Execute PlainOf(Type to, Type from, bool rounded) {
  switch (from) {
    case Type::kU8:
      return PlainFrom<uint8_t>(to, rounded);
    case Type::kS8:
      return PlainFrom<int8_t>(to, rounded);
    case Type::kU16:
      return PlainFrom<uint16_t>(to, rounded);
    case Type::kS16:
      return PlainFrom<int16_t>(to, rounded);
    case Type::kU32:
      return PlainFrom<uint32_t>(to, rounded);
    case Type::kS32:
      return PlainFrom<int32_t>(to, rounded);
    case Type::kU64:
      return PlainFrom<uint64_t>(to, rounded);
    case Type::kS64:
      return PlainFrom<int64_t>(to, rounded);
    case Type::kF32:
      if (to == Type::kF64 && !rounded) return &Run<&Plain<double, float>>;
      if (to == Type::kF16 && rounded) return &Run<&ToNarrow<HalfOf>>;
      if (to == Type::kBf16 && rounded) return &Run<&ToNarrow<Bf16Of>>;
      return nullptr;
    case Type::kF64:
      return to == Type::kF32 && rounded ? &Run<&Plain<float, double>> : nullptr;
    case Type::kF16:
      return to == Type::kF32 && !rounded ? &Run<&FromNarrow<HalfOf>> : nullptr;
    case Type::kBf16:
      return to == Type::kF32 && !rounded ? &Run<&FromNarrow<Bf16Of>> : nullptr;
    default:
      return nullptr;
  }
}

// Two sources, one word.
bool ConvertPair(Decoder& d, Type to, Type from, bool rounded, bool finite) {
  Execute execute = nullptr;
  using W = uint32_t;
  if (to == Type::kBf16x2 && !finite) {
    execute = &Lanewise<Pack<Bf16Of, W, false>, W, float, float>::Run;
  } else if (to == Type::kF16x2 && !finite) {
    execute = &Lanewise<Pack<HalfOf, W, false>, W, float, float>::Run;
  } else if (to == Type::kE4m3x2 && finite) {
    execute = &Lanewise<Pack<E4m3Of, uint16_t, true>, uint16_t, float, float>::Run;
  } else {
    return false;
  }
  if (from != Type::kF32 || !rounded) d.Fail("a conversion that is not known");
  d.Destination(to);
  d.Source(from);
  d.Source(from);
  d.instruction().execute = execute;
  return true;
}

}  // namespace

bool DecodeConvert(Decoder& d) {
  if (d.opcode() != "cvt") return false;
  static constexpr std::string_view kIntegerRoundings[] = {"rni", "rzi", "rmi", "rpi"};
  int to_integer = -1;
  for (int i = 0; i < 4; ++i) {
    if (d.Skip(kIntegerRoundings[i])) to_integer = i;
  }
  const bool rounded = to_integer < 0 && d.Skip("rn");
  const bool saturated = d.Skip("sat");
  const bool finite = !saturated && d.Skip("satfinite");
  const Type to = d.TakeType();
  const Type from = d.TakeType();
  if (ConvertPair(d, to, from, rounded, finite)) return true;
  d.WideDestination(to, 0);
  d.WideSource(from, 1);
  Execute& execute = d.instruction().execute;
  if (finite) return true;  // of pairs only: no execute, which is an error
  if (saturated) {
    const bool known = to == Type::kF32 && from == Type::kF32 && !rounded && to_integer < 0;
    if (known) execute = &Run<&Saturate>;
    return true;
  }
  switch (to_integer) {
    case 0:
      execute = RoundedOf<Rounding::kNearest>(to, from);
      break;
    case 1:
      execute = RoundedOf<Rounding::kZero>(to, from);
      break;
    case 2:
      execute = RoundedOf<Rounding::kDown>(to, from);
      break;
    case 3:
      execute = RoundedOf<Rounding::kUp>(to, from);
      break;
    default:
      execute = PlainOf(to, from, rounded);
  }
  return true;
}

}  // namespace inferd::cuda::ptx
