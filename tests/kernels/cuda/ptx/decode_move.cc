// mov, also between a register and its parts, and cvta.
#include "kernels/cuda/ptx/lanewise.h"
#include "kernels/cuda/ptx/machine.h"

namespace inferd::cuda::ptx {
namespace {

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

// slots[0] = {slots[1], ...}, the first the lowest. widths: of the whole, of a part.
void Join(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t whole[kLanes] = {};
  for (unsigned part = 0; part < i.count; ++part) {
    uint64_t values[kLanes];
    warp.Read(i.slots[1 + part], i.widths[1], values);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      whole[lane] |= values[lane] << (8 * i.widths[1] * part);
    }
  }
  warp.Write(i.slots[0], i.widths[0], whole, lanes);
}

// {slots[1], ...} = slots[0]
void Split(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t whole[kLanes];
  warp.Read(i.slots[0], i.widths[0], whole);
  for (unsigned part = 0; part < i.count; ++part) {
    if (i.slots[1 + part] == kNoSlot) continue;
    uint64_t values[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      values[lane] = whole[lane] >> (8 * i.widths[1] * part);
    }
    warp.Write(i.slots[1 + part], i.widths[1], values, lanes);
  }
}

Type PartOf(size_t bytes) {
  if (bytes == 2) return Type::kB16;
  return bytes == 4 ? Type::kB32 : Type::kNone;
}

bool PutParts(Decoder& d, const Operand& list, Type whole, bool source) {
  Instruction& i = d.instruction();
  if (list.items.empty() || list.items.size() > 4) return false;
  const size_t bytes = BytesOf(whole) / list.items.size();
  const Type part = PartOf(bytes);
  if (part == Type::kNone || bytes * list.items.size() != BytesOf(whole)) return false;
  i.count = static_cast<uint8_t>(list.items.size());
  i.widths[0] = BytesOf(whole);
  i.widths[1] = static_cast<uint8_t>(bytes);
  for (const Operand& item : list.items) {
    if (source) {
      d.Put(d.SourceSlot(item, part));
    } else {
      d.Put(item.kind == Operand::Kind::kNothing ? kNoSlot : d.RegisterSlot(item, part));
    }
  }
  return true;
}

void Move(Decoder& d) {
  const Type type = d.TakeType();
  Instruction& i = d.instruction();
  if (d.NextIs(Operand::Kind::kList)) {
    const Operand& list = d.TakeOperand();
    d.Source(type);
    if (!PutParts(d, list, type, false)) d.Fail("parts that do not make a whole");
    i.execute = &Split;
    return;
  }
  d.Destination(type);
  if (d.NextIs(Operand::Kind::kList)) {
    if (!PutParts(d, d.TakeOperand(), type, true)) d.Fail("parts that do not make a whole");
    i.execute = &Join;
    return;
  }
  d.Source(type);
  switch (BytesOf(type)) {
    case 1:
      i.execute = &Lanewise<Same, uint8_t, uint8_t>::Run;
      break;
    case 2:
      i.execute = &Lanewise<Same, uint16_t, uint16_t>::Run;
      break;
    case 4:
      i.execute = &Lanewise<Same, uint32_t, uint32_t>::Run;
      break;
    default:
      i.execute = &Lanewise<Same, uint64_t, uint64_t>::Run;
  }
}

// A generic address is the host's: of global memory itself, of shared and local memory
// where this machine keeps it.
uint64_t BaseOf(Warp& warp, Space space, unsigned lane) {
  if (space == Space::kShared) return warp.machine().shared_base();
  if (space == Space::kLocal) return reinterpret_cast<uint64_t>(warp.Local(lane));
  if (space == Space::kParam) return reinterpret_cast<uint64_t>(warp.machine().params());
  return 0;
}

template <bool kToSpace>
void ConvertAddress(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t values[kLanes];
  warp.Read(i.slots[1], 8, values);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const uint64_t base = BaseOf(warp, i.space, lane);
    values[lane] = kToSpace ? values[lane] - base : values[lane] + base;
  }
  warp.Write(i.slots[0], 8, values, lanes);
}

void AddressOf(Decoder& d) {
  const bool to = d.Skip("to");
  Space& space = d.instruction().space;
  if (d.Skip("global")) {
    space = Space::kGlobal;
  } else if (d.Skip("shared")) {
    space = Space::kShared;
  } else if (d.Skip("local")) {
    space = Space::kLocal;
  } else if (d.Skip("param")) {
    space = Space::kParam;
  } else {
    d.Fail("a space that is not known");
  }
  if (!d.Skip("u64")) d.Fail("not .u64");
  d.Destination(Type::kU64);
  d.Source(Type::kU64);
  d.instruction().execute = to ? &ConvertAddress<true> : &ConvertAddress<false>;
}

}  // namespace

bool DecodeMove(Decoder& d) {
  if (d.opcode() == "mov") {
    Move(d);
  } else if (d.opcode() == "cvta") {
    AddressOf(d);
  } else {
    return false;
  }
  return true;
}

}  // namespace inferd::cuda::ptx
