// and, or, xor, not, shl, shr, bfe, bfi, prmt, lop3, shf, popc, clz, brev.
#include <bit>

#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
  // A predicate's byte is 0 or 1.
  uint8_t operator()(uint8_t a) const { return a ^ 1; }
};
// Amounts above the width count as the width.
struct ShiftLeft {
  template <class T>
  T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, uint32_t n) const {
    if (n >= 8 * sizeof(T)) return a < T{0} ? static_cast<T>(~T{0}) : T{0};
    return static_cast<T>(a >> n);
  }
};
struct BitFieldExtract {
  template <class T>
  T operator()(T a, uint32_t position, uint32_t length) const {
    const unsigned pos = position & 0xFF;
    const unsigned len = length & 0xFF;
    constexpr unsigned kBits = 8 * sizeof(T);
    using U = std::make_unsigned_t<T>;
    const auto bits = static_cast<U>(a);
    U result = 0;
    // The sign, where there is one, is the field's highest bit, or the number's.
    const unsigned top = pos + len - 1 < kBits ? pos + len - 1 : kBits - 1;
    const bool sign = std::is_signed_v<T> && len > 0 && (bits >> top & 1) != 0;
    for (unsigned i = 0; i < kBits; ++i) {
      const bool bit = i < len && pos + i < kBits ? (bits >> (pos + i) & 1) != 0 : sign;
      result |= static_cast<U>(bit) << i;
    }
    return static_cast<T>(result);
  }
};
struct BitFieldInsert {
  template <class T>
  T operator()(T a, T b, uint32_t position, uint32_t length) const {
    const unsigned pos = position & 0xFF;
    const unsigned len = length & 0xFF;
    constexpr unsigned kBits = 8 * sizeof(T);
    T result = b;
    for (unsigned i = 0; i < len && pos + i < kBits; ++i) {
      const T bit = T{1} << (pos + i);
      result = (a >> i & 1) != 0 ? result | bit : result & ~bit;
    }
    return result;
  }
};
// Four bytes out of the eight of {b, a}: a nibble of c picks one, its highest bit asks for
// the sign of that byte instead.
struct Permute {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    const uint64_t bytes = uint64_t{b} << 32 | a;
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i) {
      const uint32_t selector = c >> (4 * i) & 0xF;
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (selector & 7))) & 0xFF;
      if ((selector & 8) != 0) byte = (byte & 0x80) != 0 ? 0xFF : 0;
      result |= byte << (8 * i);
    }
    return result;
  }
};
// Bit i of the table is the result for a, b, c being the bits of i, a the highest.
struct Logic3 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c, uint32_t table) const {
    uint32_t result = 0;
    for (uint32_t i = 0; i < 8; ++i) {
      if ((table >> i & 1) == 0) continue;
      result |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
    }
    return result;
  }
};
template <bool kLeft, bool kWrap>
struct Funnel {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t amount) const {
    const uint32_t n = kWrap ? amount & 31 : amount < 32 ? amount : 32;
    const uint64_t both = uint64_t{high} << 32 | low;
    return static_cast<uint32_t>(kLeft ? (both << n) >> 32 : both >> n);
  }
};
struct PopCount {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct LeadingZeros {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T result = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i)
      result = static_cast<T>(result << 1 | (a >> i & 1));
    return result;
  }
};

template <class Fn>
void Binary(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(type);
  d.instruction().execute =
      ForBits(type, []<class T>(T) -> Execute { return &Lanewise<Fn, T, T, T>::Run; });
}
template <class Fn>
void Unary(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.instruction().execute =
      ForBits(type, []<class T>(T) -> Execute { return &Lanewise<Fn, T, T>::Run; });
}
template <class Fn>
void Counting(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(Type::kU32);
  d.Source(type);
  if (type == Type::kB32) d.instruction().execute = &Lanewise<Fn, uint32_t, uint32_t>::Run;
  if (type == Type::kB64) d.instruction().execute = &Lanewise<Fn, uint32_t, uint64_t>::Run;
}
void Left(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(Type::kU32);
  if (type == Type::kPred) return;
  d.instruction().execute = ForBits(
      type, []<class T>(T) -> Execute { return &Lanewise<ShiftLeft, T, T, uint32_t>::Run; });
}
void Right(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(Type::kU32);
  const auto run = []<class T>(T) -> Execute { return &Lanewise<ShiftRight, T, T, uint32_t>::Run; };
  if (type == Type::kPred) return;
  Execute execute = ForInteger(type, run);
  d.instruction().execute = execute != nullptr ? execute : ForBits(type, run);
}
void Extract(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(Type::kU32);
  d.Source(Type::kU32);
  if (BytesOf(type) < 4) return;
  d.instruction().execute = ForInteger(type, []<class T>(T) -> Execute {
    return &Lanewise<BitFieldExtract, T, T, uint32_t, uint32_t>::Run;
  });
}
void Insert(Decoder& d) {
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  d.Source(type);
  d.Source(Type::kU32);
  d.Source(Type::kU32);
  using W = uint32_t;
  if (type == Type::kB32) d.instruction().execute = &Lanewise<BitFieldInsert, W, W, W, W, W>::Run;
  if (type == Type::kB64) {
    d.instruction().execute = &Lanewise<BitFieldInsert, uint64_t, uint64_t, uint64_t, W, W>::Run;
  }
}
template <class Fn, int kSources>
void Words(Decoder& d) {
  if (d.TakeType() != Type::kB32) d.Fail("not .b32");
  d.Destination(Type::kB32);
  for (int i = 0; i < kSources; ++i) d.Source(Type::kB32);
  using W = uint32_t;
  if constexpr (kSources == 3) {
    d.instruction().execute = &Lanewise<Fn, W, W, W, W>::Run;
  } else {
    d.instruction().execute = &Lanewise<Fn, W, W, W, W, W>::Run;
  }
}
void FunnelShift(Decoder& d) {
  const bool left = d.Skip("l");
  if (!left && !d.Skip("r")) d.Fail("neither .l nor .r");
  const bool wrap = d.Skip("wrap");
  if (!wrap && !d.Skip("clamp")) d.Fail("neither .wrap nor .clamp");
  if (left) {
    wrap ? Words<Funnel<true, true>, 3>(d) : Words<Funnel<true, false>, 3>(d);
  } else {
    wrap ? Words<Funnel<false, true>, 3>(d) : Words<Funnel<false, false>, 3>(d);
  }
}

}  // namespace

bool DecodeBits(Decoder& d) {
  using Family = void (*)(Decoder&);
  struct Entry {
    const char* opcode;
    Family family;
  };
  static constexpr Entry kEntries[] = {{"and", &Binary<And>},
                                       {"or", &Binary<Or>},
                                       {"xor", &Binary<Xor>},
                                       {"not", &Unary<Not>},
                                       {"shl", &Left},
                                       {"shr", &Right},
                                       {"bfe", &Extract},
                                       {"bfi", &Insert},
                                       {"prmt", &Words<Permute, 3>},
                                       {"lop3", &Words<Logic3, 4>},
                                       {"shf", &FunnelShift},
                                       {"popc", &Counting<PopCount>},
                                       {"clz", &Counting<LeadingZeros>},
                                       {"brev", &Unary<Reverse>}};
  for (const Entry& entry : kEntries) {
    if (d.opcode() == entry.opcode) {
      entry.family(d);
      return true;
    }
  }
  return false;
}

}  // namespace inferd::cuda::ptx
