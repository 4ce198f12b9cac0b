// cp.async. A copy arrives when its group is waited for; from the issue on its
// destination holds 0xFF bytes, and its source is read at the issue or at the wait, which
// of the two is drawn. So a wait that is missing or too weak is seen.
#include <cstring>

#include "kernels/cuda/ptx/lanewise.h"
#include "kernels/cuda/ptx/machine.h"

namespace inferd::cuda::ptx {
namespace {

// slots: destination, source, bytes of the source; the rest becomes zero.
void Issue(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t to[kLanes];
  uint64_t from[kLanes];
  warp.Read(i.slots[0], i.widths[2], to);
  warp.Read(i.slots[1], 8, from);
  const auto* sizes = warp.Lanes<uint32_t>(i.slots[2]);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    if (sizes[lane] > i.bytes) {
      warp.Fail(i, lane, "an asynchronous copy of more than its size");
      return;
    }
    Warp::Copy copy = {};
    copy.bytes = i.bytes;
    copy.valid = static_cast<uint8_t>(sizes[lane]);
    copy.to = warp.Memory(i, Space::kShared, lane, to[lane] + i.number, i.bytes);
    if (copy.to == nullptr) return;
    // Nothing is read of a source of no bytes, but its address has to be aligned.
    if (copy.valid > 0) {
      copy.from = warp.Memory(i, Space::kGlobal, lane, from[lane], i.bytes);
      if (copy.from == nullptr) return;
    } else if (from[lane] % i.bytes != 0) {
      warp.Fail(i, lane, "a misaligned access");
      return;
    }
    copy.early = warp.machine().Draw(2) == 0;
    if (copy.early && copy.valid > 0) std::memcpy(copy.data.data(), copy.from, copy.valid);
    std::memset(copy.to, 0xFF, copy.bytes);
    warp.Issue(lane, copy);
  }
}

void Commit(Warp& warp, const Instruction& /*i*/, uint32_t lanes) { warp.Commit(lanes); }
void WaitGroup(Warp& warp, const Instruction& i, uint32_t lanes) { warp.Await(lanes, i.number); }
void WaitAll(Warp& warp, const Instruction& /*i*/, uint32_t lanes) {
  warp.Commit(lanes);
  warp.Await(lanes, 0);
}

void Copy(Decoder& d) {
  const bool past_l1 = d.Skip("cg");
  if (!past_l1 && !d.Skip("ca")) d.Fail("a cache that is not known");
  if (!d.Skip("shared") || !d.Skip("global")) d.Fail("not from global to shared memory");
  d.SkipAny({"L2::64B", "L2::128B", "L2::256B"});
  d.Address(Space::kShared);
  Instruction& i = d.instruction();
  const Operand& source = d.TakeOperand();
  if (source.kind != Operand::Kind::kAddress || !source.has_base || source.bytes != 8 ||
      source.number != 0) {
    d.Fail("a source that is not known");
  }
  d.Put(source.slot);
  const uint64_t bytes = d.Immediate();
  if (bytes != 16 && (past_l1 || (bytes != 4 && bytes != 8))) d.Fail("a size that is none");
  i.bytes = static_cast<uint8_t>(bytes);
  if (d.num_operands() == 4) {
    d.Source(Type::kU32);
  } else {
    d.Put(d.builder().ConstantSlot(bytes, 4));
  }
  i.execute = &Issue;
}

}  // namespace

bool DecodeCopies(Decoder& d) {
  if (d.opcode() != "cp") return false;
  if (!d.Skip("async")) {
    d.Fail("a copy that is not known");
  } else if (d.Skip("commit_group")) {
    d.instruction().execute = &Commit;
  } else if (d.Skip("wait_all")) {
    d.instruction().execute = &WaitAll;
  } else if (d.Skip("wait_group")) {
    d.instruction().number = d.Immediate();
    d.instruction().execute = &WaitGroup;
  } else {
    Copy(d);
  }
  return true;
}

}  // namespace inferd::cuda::ptx
