// add, sub, mul, mad, div, rem, min, max, neg, abs on integers.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

// Sums and products wrap: they are those of unsigned numbers, of 32 bits at least.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b));
  }
};
struct MulLow {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
  }
};
struct MulHigh {
  template <class T>
  T operator()(T a, T b) const {
    using Twice = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((Twice{a} * Twice{b}) >> (8 * sizeof(T)));
  }
};
// Of numbers half as wide as the result, so nothing is lost.
template <class D>
struct MulWide {
  template <class T>
  D operator()(T a, T b) const {
    return static_cast<D>(D{a} * D{b});
  }
};
template <class Multiply>
struct Mad {
  template <class T, class C>
  C operator()(T a, T b, C c) const {
    return Add{}(static_cast<C>(Multiply{}(a, b)), c);
  }
};
// Division by zero is whatever a device makes of it, and no trap.
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(~T{0})) return Sub{}(T{0}, a);
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(~T{0})) return 0;
    return static_cast<T>(a % b);
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return Sub{}(T{0}, a);
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Sub{}(T{0}, a) : a;
  }
};

template <class Fn>
void Binary(Decoder& d, Type type) {
  d.Destination(type);
  d.Source(type);
  d.Source(type);
  d.instruction().execute =
      ForInteger(type, []<class T>(T) -> Execute { return &Lanewise<Fn, T, T, T>::Run; });
}

template <class Fn>
void Unary(Decoder& d, Type type) {
  d.Destination(type);
  d.Source(type);
  d.instruction().execute =
      ForInteger(type, []<class T>(T) -> Execute { return &Lanewise<Fn, T, T>::Run; });
}

template <class Fn>
void Ternary(Decoder& d, Type type) {
  d.Destination(type);
  for (int i = 0; i < 3; ++i) d.Source(type);
  d.instruction().execute =
      ForInteger(type, []<class T>(T) -> Execute { return &Lanewise<Fn, T, T, T, T>::Run; });
}

Type Doubled(Type type) {
  switch (type) {
    case Type::kU16:
      return Type::kU32;
    case Type::kS16:
      return Type::kS32;
    case Type::kU32:
      return Type::kU64;
    case Type::kS32:
      return Type::kS64;
    default:
      return Type::kNone;
  }
}

template <class D, class T>
Execute WideRun(bool add) {
  return add ? &Lanewise<Mad<MulWide<D>>, D, T, T, D>::Run : &Lanewise<MulWide<D>, D, T, T>::Run;
}

void Multiply(Decoder& d, bool add) {
  const bool low = d.Skip("lo");
  const bool high = !low && d.Skip("hi");
  const bool wide = !low && !high && d.Skip("wide");
  const Type type = d.TakeType();
  if (low) {
    add ? Ternary<Mad<MulLow>>(d, type) : Binary<MulLow>(d, type);
  } else if (high) {
    add ? Ternary<Mad<MulHigh>>(d, type) : Binary<MulHigh>(d, type);
  } else if (wide) {
    const Type result = Doubled(type);
    d.Destination(result);
    d.Source(type);
    d.Source(type);
    if (add) d.Source(result);
    Execute& execute = d.instruction().execute;
    if (type == Type::kU16) execute = WideRun<uint32_t, uint16_t>(add);
    if (type == Type::kS16) execute = WideRun<int32_t, int16_t>(add);
    if (type == Type::kU32) execute = WideRun<uint64_t, uint32_t>(add);
    if (type == Type::kS32) execute = WideRun<int64_t, int32_t>(add);
  } else {
    d.Fail("neither .lo nor .hi nor .wide");
  }
}

bool IsFloat(std::string_view type) {
  return type == "f32" || type == "f64" || type == "f16" || type == "bf16" || type == "f16x2" ||
         type == "bf16x2";
}

}  // namespace

bool DecodeInteger(Decoder& d) {
  const std::string& op = d.opcode();
  // Floats have a rounding, or their type comes first: decode_float.cc.
  const std::string_view next = d.Next();
  if (IsFloat(next)) return false;
  const bool has_type =
      next.size() >= 3 && (next[0] == 'u' || next[0] == 's') && next[1] >= '0' && next[1] <= '9';
  if (op == "mad" && (next == "lo" || next == "hi" || next == "wide")) {
    Multiply(d, true);
    return true;
  }
  if (op == "mul" && (next == "lo" || next == "hi" || next == "wide")) {
    Multiply(d, false);
    return true;
  }
  if (!has_type) return false;
  using Family = void (*)(Decoder&, Type);
  struct Entry {
    const char* opcode;
    Family family;
  };
  static constexpr Entry kEntries[] = {
      {"add", &Binary<Add>}, {"sub", &Binary<Sub>}, {"div", &Binary<Div>}, {"rem", &Binary<Rem>},
      {"min", &Binary<Min>}, {"max", &Binary<Max>}, {"neg", &Unary<Neg>},  {"abs", &Unary<Abs>}};
  for (const Entry& entry : kEntries) {
    if (op == entry.opcode) {
      entry.family(d, d.TakeType());
      return true;
    }
  }
  return false;
}

}  // namespace inferd::cuda::ptx
