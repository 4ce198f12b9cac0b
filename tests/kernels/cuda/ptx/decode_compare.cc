// setp and selp.
#include <cmath>

#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

// Ordered comparisons are false where a number is NaN, unordered ones (...u) true.
#define INFERD_PTX_COMPARE(Name, expression) \
  struct Name {                              \
    template <class T>                       \
    bool operator()(T a, T b) const {        \
      return expression;                     \
    }                                        \
  }
INFERD_PTX_COMPARE(Eq, a == b);
INFERD_PTX_COMPARE(Ne, a<b || a> b);
INFERD_PTX_COMPARE(Lt, a < b);
INFERD_PTX_COMPARE(Le, a <= b);
INFERD_PTX_COMPARE(Gt, a > b);
INFERD_PTX_COMPARE(Ge, a >= b);
INFERD_PTX_COMPARE(Equ, !(a < b || a > b));
INFERD_PTX_COMPARE(Neu, !(a == b));
INFERD_PTX_COMPARE(Ltu, !(a >= b));
INFERD_PTX_COMPARE(Leu, !(a > b));
INFERD_PTX_COMPARE(Gtu, !(a <= b));
INFERD_PTX_COMPARE(Geu, !(a < b));
INFERD_PTX_COMPARE(Num, a == a && b == b);
INFERD_PTX_COMPARE(Nan, a != a || b != b);
#undef INFERD_PTX_COMPARE

template <class Fn>
Execute OnIntegers(Type type) {
  const auto run = []<class T>(T) -> Execute { return &Lanewise<Fn, uint8_t, T, T>::Run; };
  return ForInteger(type, run);
}
template <class Fn>
Execute OnBits(Type type) {
  const auto run = []<class T>(T) -> Execute { return &Lanewise<Fn, uint8_t, T, T>::Run; };
  return type == Type::kPred ? nullptr : ForBits(type, run);
}
template <class Fn>
Execute OnFloats(Type type) {
  return ForFloat(type, []<class T>(T) -> Execute { return &Lanewise<Fn, uint8_t, T, T>::Run; });
}
Execute Never(Type /*type*/) { return nullptr; }

struct Comparison {
  const char* name;
  Execute (*integers)(Type type);
  Execute (*bits)(Type type);
  Execute (*floats)(Type type);
};
constexpr Comparison kComparisons[] = {
    {"eq", &OnIntegers<Eq>, &OnBits<Eq>, &OnFloats<Eq>},
    {"ne", &OnIntegers<Ne>, &OnBits<Ne>, &OnFloats<Ne>},
    {"lt", &OnIntegers<Lt>, &Never, &OnFloats<Lt>},
    {"le", &OnIntegers<Le>, &Never, &OnFloats<Le>},
    {"gt", &OnIntegers<Gt>, &Never, &OnFloats<Gt>},
    {"ge", &OnIntegers<Ge>, &Never, &OnFloats<Ge>},
    {"equ", &Never, &Never, &OnFloats<Equ>},
    {"neu", &Never, &Never, &OnFloats<Neu>},
    {"ltu", &Never, &Never, &OnFloats<Ltu>},
    {"leu", &Never, &Never, &OnFloats<Leu>},
    {"gtu", &Never, &Never, &OnFloats<Gtu>},
    {"geu", &Never, &Never, &OnFloats<Geu>},
    {"num", &Never, &Never, &OnFloats<Num>},
    {"nan", &Never, &Never, &OnFloats<Nan>},
};

struct Select {
  template <class T>
  T operator()(T a, T b, uint8_t predicate) const {
    return predicate != 0 ? a : b;
  }
};

void SetPredicate(Decoder& d) {
  for (const Comparison& comparison : kComparisons) {
    if (!d.Skip(comparison.name)) continue;
    const Type type = d.TakeType();
    d.Destination(Type::kPred);
    d.Source(type);
    d.Source(type);
    Execute& execute = d.instruction().execute;
    execute = comparison.integers(type);
    if (execute == nullptr) execute = comparison.bits(type);
    if (execute == nullptr) execute = comparison.floats(type);
    return;
  }
  d.Fail("a comparison that is not known");
}

void SelectByPredicate(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(type);
  d.Source(Type::kPred);
  const auto run = []<class T>(T) -> Execute { return &Lanewise<Select, T, T, T, uint8_t>::Run; };
  Execute& execute = d.instruction().execute;
  execute = ForInteger(type, run);
  if (execute == nullptr && type != Type::kPred) execute = ForBits(type, run);
  if (execute == nullptr) execute = ForFloat(type, run);
}

}  // namespace

bool DecodeCompare(Decoder& d) {
  if (d.opcode() == "setp") {
    SetPredicate(d);
  } else if (d.opcode() == "selp") {
    SelectByPredicate(d);
  } else {
    return false;
  }
  return true;
}

}  // namespace inferd::cuda::ptx
