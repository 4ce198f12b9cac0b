// ldmatrix and mma.sync, by the tables of the PTX manual ("Matrix Fragments for ...",
// "ldmatrix"): where an element of a fragment lies in its matrix is computed from the
// lane and from the element's number, as the manual writes it, element by element.
#include <cstring>
#include <type_traits>

#include "kernels/cuda/ptx/formats.h"
#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

// Lanes 8 m .. 8 m + 7 hold the addresses of the rows of matrix m. Afterwards lane l holds
// two neighbours of row l / 4, from column 2 (l % 4) on; of the transposed matrix if asked.
template <bool kTransposed>
void LoadMatrices(Warp& warp, const Instruction& i, uint32_t /*lanes*/) {
  uint64_t addresses[kLanes];
  warp.Read(i.slots[i.count], i.widths[2], addresses);
  for (unsigned m = 0; m < i.count; ++m) {
    uint16_t matrix[8][8];
    for (unsigned row = 0; row < 8; ++row) {
      const unsigned lane = 8 * m + row;
      const unsigned char* from = warp.Memory(i, lane, addresses[lane] + i.number, 16);
      if (from == nullptr) return;
      std::memcpy(matrix[row], from, 16);
    }
    auto* out = warp.Lanes<uint32_t>(i.slots[m]);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const unsigned row = lane / 4;
      const unsigned column = lane % 4 * 2;
      const uint32_t first = kTransposed ? matrix[column][row] : matrix[row][column];
      const uint32_t second = kTransposed ? matrix[column + 1][row] : matrix[row][column + 1];
      out[lane] = first | second << 16;
    }
  }
}

void DecodeLoad(Decoder& d) {
  Instruction& i = d.instruction();
  const bool sync = d.Skip("sync") && d.Skip("aligned") && d.Skip("m8n8");
  if (!sync) d.Fail("not .sync.aligned.m8n8");
  unsigned count = 1;
  if (d.Skip("x2")) {
    count = 2;
  } else if (d.Skip("x4")) {
    count = 4;
  } else if (!d.Skip("x1")) {
    d.Fail("a number that is not known");
  }
  const bool transposed = d.Skip("trans");
  if (!d.Skip("shared") || !d.Skip("b16")) d.Fail("not .shared.b16");
  i.count = static_cast<uint8_t>(count);
  d.Destinations(Type::kB32, count);
  d.Address(Space::kShared);
  i.flow = Flow::kGatherAligned;
  i.execute = transposed ? &LoadMatrices<true> : &LoadMatrices<false>;
}

struct Place {
  unsigned row;
  unsigned column;
};

// m16n8k16 with 16-bit elements: a0 .. a7, b0 .. b3.
struct Sixteen {
  static constexpr unsigned kDepth = 16;
  static constexpr unsigned kPerWord = 2;
  static Place A(unsigned lane, unsigned i) {
    const unsigned group = lane >> 2;
    const unsigned thread = lane % 4;
    const bool upper = i < 2 || (4 <= i && i < 6);
    return {upper ? group : group + 8, thread * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
  }
  static Place B(unsigned lane, unsigned i) {
    return {lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0), lane >> 2};
  }
};
// m16n8k32 with 8-bit elements: a0 .. a15, b0 .. b7.
struct Eight {
  static constexpr unsigned kDepth = 32;
  static constexpr unsigned kPerWord = 4;
  static Place A(unsigned lane, unsigned i) {
    const unsigned group = lane >> 2;
    const unsigned thread = lane % 4;
    const bool upper = i < 4 || (8 <= i && i < 12);
    return {upper ? group : group + 8, thread * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
  }
  static Place B(unsigned lane, unsigned i) {
    return {lane % 4 * 4 + (i & 3) + (i >= 4 ? 16 : 0), lane >> 2};
  }
};
// c0 .. c3 of both.
Place C(unsigned lane, unsigned i) {
  const unsigned group = lane >> 2;
  return {i < 2 ? group : group + 8, lane % 4 * 2 + (i & 1)};
}

struct OfBf16 {
  using Layout = Sixteen;
  using Sum = float;
  // A bf16 is the upper half of an f32.
  static double Value(uint32_t bits) {
    const uint32_t word = bits << 16;
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return double{value};
  }
};
struct OfHalf {
  using Layout = Sixteen;
  using Sum = float;
  static double Value(uint32_t bits) { return ToDouble(kHalfFormat, bits); }
};
struct OfE4m3 {
  using Layout = Eight;
  using Sum = float;
  static double Value(uint32_t bits) { return ToDouble(kE4m3Format, bits); }
};
struct OfInt8 {
  using Layout = Eight;
  using Sum = int32_t;
  static int64_t Value(uint32_t bits) { return static_cast<int8_t>(bits); }
};

// D = A B + C; slots: d, a, b, c. Products are exact; their sum is rounded once, which a
// tensor core does in some other way.
template <class Element>
void Multiply(Warp& warp, const Instruction& instruction, uint32_t /*lanes*/) {
  using Layout = typename Element::Layout;
  using Sum = typename Element::Sum;
  using Wide = decltype(Element::Value(0));
  constexpr unsigned kPerWord = Layout::kPerWord;
  constexpr unsigned kBits = 32 / kPerWord;
  Wide a[16][Layout::kDepth];
  Wide b[Layout::kDepth][8];
  Wide c[16][8];
  const Slot* slots = instruction.slots;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const auto element = [&](Slot slot, unsigned i) {
      const uint32_t word = warp.Lanes<uint32_t>(slot)[lane];
      return Element::Value(word >> (i % kPerWord * kBits) & ((1U << kBits) - 1));
    };
    for (unsigned i = 0; i < 4 * kPerWord; ++i) {
      const Place place = Layout::A(lane, i);
      a[place.row][place.column] = element(slots[4 + i / kPerWord], i);
    }
    for (unsigned i = 0; i < 2 * kPerWord; ++i) {
      const Place place = Layout::B(lane, i);
      b[place.row][place.column] = element(slots[8 + i / kPerWord], i);
    }
    for (unsigned i = 0; i < 4; ++i) {
      const Place place = C(lane, i);
      c[place.row][place.column] = Wide{warp.Lanes<Sum>(slots[10 + i])[lane]};
    }
  }
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned k = 0; k < Layout::kDepth; ++k) {
      for (unsigned column = 0; column < 8; ++column) {
        c[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const Place place = C(lane, i);
      warp.Lanes<Sum>(slots[i])[lane] = static_cast<Sum>(c[place.row][place.column]);
    }
  }
}

void DecodeMultiply(Decoder& d) {
  struct Form {
    const char* modifiers[5];  // shape, types of d, a, b, c
    Execute execute;
    Type sum;
  };
  static constexpr Form kForms[] = {
      {{"m16n8k16", "f32", "bf16", "bf16", "f32"}, &Multiply<OfBf16>, Type::kF32},
      {{"m16n8k16", "f32", "f16", "f16", "f32"}, &Multiply<OfHalf>, Type::kF32},
      {{"m16n8k32", "f32", "e4m3", "e4m3", "f32"}, &Multiply<OfE4m3>, Type::kF32},
      {{"m16n8k32", "s32", "s8", "s8", "s32"}, &Multiply<OfInt8>, Type::kS32}};
  Instruction& i = d.instruction();
  if (!d.Skip("sync") || !d.Skip("aligned")) d.Fail("not .sync.aligned");
  std::string name[5];
  name[0] = d.Next();
  d.Skip(name[0]);
  if (!d.Skip("row") || !d.Skip("col")) d.Fail("not .row.col");
  for (int k = 1; k < 5; ++k) {
    name[k] = d.Next();
    d.Skip(name[k]);
  }
  for (const Form& form : kForms) {
    bool same = true;
    for (int k = 0; k < 5; ++k) same = same && name[k] == form.modifiers[k];
    if (!same) continue;
    d.Destinations(form.sum, 4);
    d.Sources(Type::kB32, 4);
    d.Sources(Type::kB32, 2);
    d.Sources(form.sum, 4);
    i.flow = Flow::kGatherAligned;
    i.execute = form.execute;
    return;
  }
  d.Fail("a shape or a type that is not known");
}

}  // namespace

bool DecodeMatrix(Decoder& d) {
  if (d.opcode() == "ldmatrix") {
    DecodeLoad(d);
  } else if (d.opcode() == "mma") {
    DecodeMultiply(d);
  } else {
    return false;
  }
  return true;
}

}  // namespace inferd::cuda::ptx
