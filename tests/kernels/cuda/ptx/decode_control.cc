// Branches, ends, barriers of the block, and what lets the next grid begin.
#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

void Nothing(Warp& /*warp*/, const Instruction& /*i*/, uint32_t /*lanes*/) {}
void Trap(Warp& warp, const Instruction& i, uint32_t lanes) {
  warp.Fail(i, static_cast<unsigned>(__builtin_ctz(lanes)), "a trap");
}

}  // namespace

bool DecodeControl(Decoder& d) {
  Instruction& i = d.instruction();
  const std::string& op = d.opcode();
  if (op == "bra") {
    d.Skip("uni");
    i.flow = Flow::kBranch;
    i.number = d.Target();
  } else if (op == "ret" || op == "exit") {
    i.flow = Flow::kExit;
  } else if (op == "bar" || op == "barrier") {
    // bar.warp is decode_warp.cc's.
    if (d.Next() == "warp") return false;
    d.Skip("cta");
    if (!d.Skip("sync")) d.Fail("a barrier that is not known");
    if (op == "barrier" && !d.Skip("aligned")) d.Fail(".aligned is missing");
    if (d.Immediate() != 0) d.Fail("a barrier other than 0");
    i.flow = Flow::kBarrier;
  } else if (op == "griddepcontrol") {
    // Grids run one after another.
    if (!d.Skip("wait") && !d.Skip("launch_dependents")) d.Fail("not known");
    i.execute = &Nothing;
  } else if (op == "trap") {
    i.execute = &Trap;
  } else {
    return false;
  }
  return true;
}

}  // namespace inferd::cuda::ptx
