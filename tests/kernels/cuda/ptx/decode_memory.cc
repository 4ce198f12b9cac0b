// ld and st, prefetch, fences.
//
// What says how to cache is read and has no effect: blocks run one after another, and what
// is written is there at once.
#include <cstring>

#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

// Bases of all lanes: 32-bit ones wrap there.
void Addresses(Warp& warp, const Instruction& i, Slot base, uint64_t (&out)[kLanes]) {
  warp.Read(base, i.widths[2], out);
  for (uint64_t& address : out) {
    address += i.number;
    if (i.widths[2] == 4) address &= 0xFFFFFFFFU;
  }
}

template <class T>
void LoadLanes(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t addresses[kLanes];
  Addresses(warp, i, i.slots[i.count], addresses);
  uint64_t values[4][kLanes] = {};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    const unsigned char* from =
        warp.Memory(i, lane, addresses[lane], static_cast<unsigned>(sizeof(T)) * i.count);
    if (from == nullptr) return;
    for (unsigned k = 0; k < i.count; ++k) {
      T value;
      std::memcpy(&value, from + k * sizeof(T), sizeof(T));
      // Signed types extend their sign to the register's width.
      values[k][lane] = static_cast<uint64_t>(value);
    }
  }
  for (unsigned k = 0; k < i.count; ++k) {
    if (i.slots[k] != kNoSlot) warp.Write(i.slots[k], i.widths[0], values[k], lanes);
  }
}

template <class T>
void StoreLanes(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t addresses[kLanes];
  Addresses(warp, i, i.slots[0], addresses);
  uint64_t values[4][kLanes];
  for (unsigned k = 0; k < i.count; ++k) warp.Read(i.slots[1 + k], i.widths[0], values[k]);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    unsigned char* to =
        warp.Memory(i, lane, addresses[lane], static_cast<unsigned>(sizeof(T)) * i.count);
    if (to == nullptr) return;
    for (unsigned k = 0; k < i.count; ++k) {
      const T value = static_cast<T>(values[k][lane]);
      std::memcpy(to + k * sizeof(T), &value, sizeof(T));
    }
  }
}

Execute LoadOf(Type type) {
  switch (type) {
    case Type::kS8:
      return &LoadLanes<int8_t>;
    case Type::kS16:
      return &LoadLanes<int16_t>;
    case Type::kS32:
      return &LoadLanes<int32_t>;
    default:
      break;
  }
  switch (BytesOf(type)) {
    case 1:
      return &LoadLanes<uint8_t>;
    case 2:
      return &LoadLanes<uint16_t>;
    case 4:
      return &LoadLanes<uint32_t>;
    default:
      return &LoadLanes<uint64_t>;
  }
}

Execute StoreOf(Type type) {
  switch (BytesOf(type)) {
    case 1:
      return &StoreLanes<uint8_t>;
    case 2:
      return &StoreLanes<uint16_t>;
    case 4:
      return &StoreLanes<uint32_t>;
    default:
      return &StoreLanes<uint64_t>;
  }
}

Space TakeSpace(Decoder& d) {
  if (d.Skip("global")) return Space::kGlobal;
  if (d.Skip("shared")) return Space::kShared;
  if (d.Skip("local")) return Space::kLocal;
  if (d.Skip("param")) return Space::kParam;
  return Space::kGeneric;
}

void Access(Decoder& d, bool load) {
  // Order and scope.
  d.SkipAny({"weak", "volatile", "relaxed", load ? "acquire" : "release"});
  d.SkipAny({"cta", "gpu", "sys"});
  const Space space = TakeSpace(d);
  d.SkipAny({"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc"});
  d.SkipAny({"L1::no_allocate", "L1::evict_first", "L1::evict_last"});
  d.SkipAny({"L2::64B", "L2::128B", "L2::256B"});
  unsigned count = 1;
  if (d.Skip("v2")) count = 2;
  if (d.Skip("v4")) count = 4;
  const Type type = d.TakeType();
  if (type == Type::kPred || type == Type::kNone) d.Fail("not a type of memory");
  if (count * BytesOf(type) > 16) d.Fail("a vector of more than 16 bytes");
  Instruction& i = d.instruction();
  i.count = static_cast<uint8_t>(count);
  if (!load) {
    if (space == Space::kParam) d.Fail("parameters are not written");
    d.Address(space);
  }
  const bool list = d.NextIs(Operand::Kind::kList);
  if (list != (count > 1)) d.Fail("not as many registers as elements");
  const Operand& registers = d.TakeOperand();
  const auto put = [&](const Operand& item) {
    const bool nothing = load && item.kind == Operand::Kind::kNothing;
    d.Put(nothing ? kNoSlot : d.WideSlot(item, type, 0, !load));
  };
  if (list) {
    if (registers.items.size() != count) d.Fail("not as many registers as elements");
    for (const Operand& item : registers.items) put(item);
  } else {
    put(registers);
  }
  if (load) d.Address(space);
  i.execute = load ? LoadOf(type) : StoreOf(type);
}

void Nothing(Warp& /*warp*/, const Instruction& /*i*/, uint32_t /*lanes*/) {}

}  // namespace

bool DecodeMemory(Decoder& d) {
  if (d.opcode() == "ld" || d.opcode() == "st") {
    Access(d, d.opcode() == "ld");
    return true;
  }
  if (d.opcode() == "prefetch") {
    const Space space = TakeSpace(d);
    if (!d.Skip("L1") && !d.Skip("L2")) d.Fail("a cache that is not known");
    d.Address(space);
  } else if (d.opcode() == "membar") {
    if (!d.Skip("cta") && !d.Skip("gl") && !d.Skip("sys")) d.Fail("a scope that is not known");
  } else if (d.opcode() == "fence") {
    d.SkipAny({"sc", "acq_rel"});
    d.SkipAny({"cta", "gpu", "sys"});
  } else {
    return false;
  }
  d.instruction().execute = &Nothing;
  return true;
}

}  // namespace inferd::cuda::ptx
