// atom and red: one lane after another, beginning with a drawn one.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cuda/ptx/lanewise.h"
#include "kernels/cuda/ptx/machine.h"

namespace inferd::cuda::ptx {
namespace {

struct Add {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return static_cast<T>(old + b);
  }
};
struct Min {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return std::min(old, b);
  }
};
struct Max {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return std::max(old, b);
  }
};
struct And {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return old & b;
  }
};
struct Or {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return old | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T old, T b, T /*c*/) const {
    return old ^ b;
  }
};
struct Exchange {
  template <class T>
  T operator()(T /*old*/, T b, T /*c*/) const {
    return b;
  }
};
struct CompareAndSwap {
  template <class T>
  T operator()(T old, T b, T c) const {
    return old == b ? c : old;
  }
};

// slots: d or none, the address, b, c or b again.
template <class Fn, class T>
void Atomic(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t bases[kLanes];
  warp.Read(i.slots[1], i.widths[2], bases);
  const T* b = warp.Lanes<T>(i.slots[2]);
  const T* c = warp.Lanes<T>(i.slots[3]);
  T results[kLanes];
  const unsigned first = warp.machine().Draw(kLanes);
  for (unsigned n = 0; n < kLanes; ++n) {
    const unsigned lane = (first + n) % kLanes;
    if ((lanes >> lane & 1) == 0) continue;
    uint64_t address = bases[lane] + i.number;
    if (i.widths[2] == 4) address &= 0xFFFFFFFFU;
    unsigned char* at = warp.Memory(i, lane, address, sizeof(T));
    if (at == nullptr) return;
    T old;
    std::memcpy(&old, at, sizeof(T));
    const T changed = Fn{}(old, b[lane], c[lane]);
    std::memcpy(at, &changed, sizeof(T));
    results[lane] = old;
  }
  if (i.slots[0] == kNoSlot) return;
  T* d = warp.Lanes<T>(i.slots[0]);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) != 0) d[lane] = results[lane];
  }
}

template <class Fn>
Execute OnIntegers(Type type) {
  if (BytesOf(type) < 4) return nullptr;
  return ForInteger(type, []<class T>(T) -> Execute { return &Atomic<Fn, T>; });
}
template <class Fn>
Execute OnNumbers(Type type) {
  const Execute execute = ForFloat(type, []<class T>(T) -> Execute { return &Atomic<Fn, T>; });
  return execute != nullptr ? execute : OnIntegers<Fn>(type);
}
template <class Fn>
Execute OnBits(Type type) {
  if (type == Type::kB32) return &Atomic<Fn, uint32_t>;
  if (type == Type::kB64) return &Atomic<Fn, uint64_t>;
  return nullptr;
}

struct Operation {
  const char* name;
  Execute (*of)(Type type);
};
constexpr Operation kOperations[] = {{"add", &OnNumbers<Add>},    {"min", &OnIntegers<Min>},
                                     {"max", &OnIntegers<Max>},   {"and", &OnBits<And>},
                                     {"or", &OnBits<Or>},         {"xor", &OnBits<Xor>},
                                     {"exch", &OnBits<Exchange>}, {"cas", &OnBits<CompareAndSwap>}};

}  // namespace

bool DecodeAtomic(Decoder& d) {
  const bool result = d.opcode() == "atom";
  if (!result && d.opcode() != "red") return false;
  d.SkipAny({"relaxed", "acquire", "release", "acq_rel"});
  d.SkipAny({"cta", "gpu", "sys"});
  Space space = Space::kGeneric;
  if (d.Skip("global")) space = Space::kGlobal;
  if (d.Skip("shared")) space = Space::kShared;
  const auto* operation = std::find_if(std::begin(kOperations), std::end(kOperations),
                                       [&](const Operation& o) { return d.Next() == o.name; });
  if (operation == std::end(kOperations)) {
    d.Fail("an operation that is not known");
    return true;
  }
  d.Skip(operation->name);
  const Type type = d.TakeType();
  if (!result) {
    d.Put(kNoSlot);
  } else if (d.NextIs(Operand::Kind::kNothing)) {
    d.TakeOperand();
    d.Put(kNoSlot);
  } else {
    d.Destination(type);
  }
  d.Address(space);
  d.Source(type);
  if (std::string_view(operation->name) == "cas") {
    d.Source(type);
  } else {
    d.Put(d.instruction().slots[2]);
  }
  d.instruction().execute = operation->of(type);
  return true;
}

}  // namespace inferd::cuda::ptx
