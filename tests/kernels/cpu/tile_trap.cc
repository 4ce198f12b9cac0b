#include "kernels/cpu/tile_trap.h"

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cpu/tile_unit.h"
#include "kernels/cpu/tile_machine.h"

namespace inferd::kernels {

// amx_probe.cc, compiled under other names.
bool ProcessorAmxBf16Runs();
bool ProcessorAmxInt8Runs();

}  // namespace inferd::kernels

namespace inferd::testing {
namespace {

std::atomic<bool> trapped{false};
std::atomic<uint64_t> counts[kTileOpcodes];
std::atomic<int64_t> threads_with_tiles{0};
constinit thread_local TileMachine machine;

// A line put together without memory from the heap.
class Line {
 public:
  Line& Add(const char* text) {
    const size_t count = std::min(std::strlen(text), sizeof(text_) - 1 - size_);
    std::memcpy(text_ + size_, text, count);
    size_ += count;
    return *this;
  }
  Line& AddHex(uint64_t value, int digits) {
    char text[17] = {};
    for (int i = 0; i < digits; ++i) {
      text[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
    }
    return Add(text);
  }
  [[noreturn]] void End() {
    text_[size_++] = '\n';
    static_cast<void>(!write(STDERR_FILENO, text_, size_));
    std::abort();
  }

 private:
  char text_[256];
  size_t size_ = 0;
};

uint64_t Register(const ucontext_t& context, int8_t number, uint64_t next) {
  constexpr int kPlaces[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};
  if (number == kNoRegister) return 0;
  if (number == kInstructionPointer) return next;
  return static_cast<uint64_t>(context.uc_mcontext.gregs[kPlaces[number]]);
}

void Step(int /*signal*/, siginfo_t* /*info*/, void* at) {
  const int error = errno;
  auto& context = *static_cast<ucontext_t*>(at);
  const auto here = static_cast<uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  const auto* code = reinterpret_cast<const uint8_t*>(here);
  TileInstruction instruction;
  if (const char* wrong = DecodeTileInstruction(code, &instruction); wrong != nullptr) {
    Line line;
    line.Add("illegal instruction at 0x").AddHex(here, 16).Add(", none of AMX (").Add(wrong);
    line.Add("):");
    // An instruction that is no VEX may end with the page.
    for (int i = 0; i < (code[0] == 0xc4 ? 5 : 1); ++i) line.Add(" ").AddHex(code[i], 2);
    line.End();
  }
  const uint64_t next = here + instruction.length;
  uint64_t address = Register(context, instruction.base, next) +
                     static_cast<uint64_t>(int64_t{instruction.displacement});
  const uint64_t index = Register(context, instruction.index, next) * instruction.scale;
  const bool is_config =
      instruction.opcode == TileOpcode::kLdTileCfg || instruction.opcode == TileOpcode::kStTileCfg;
  if (is_config) address += index;
  const bool before = machine.configured;
  const char* fault = machine.Execute(instruction, address, static_cast<int64_t>(index));
  if (fault != nullptr) {
    Line line;
    line.Add(TileOpcodeName(instruction.opcode)).Add(" at 0x").AddHex(here, 16).Add(": ");
    line.Add(fault).End();
  }
  threads_with_tiles += int64_t{machine.configured} - int64_t{before};
  counts[static_cast<int>(instruction.opcode)].fetch_add(1, std::memory_order_relaxed);
  context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(next);
  errno = error;
}

// Before main, so before any thread.
const bool installed = [] {
  if (kernels::ProcessorAmxBf16Runs() || kernels::ProcessorAmxInt8Runs()) return false;
  struct sigaction action {};
  action.sa_sigaction = Step;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  trapped = sigaction(SIGILL, &action, nullptr) == 0;
  return trapped.load();
}();

}  // namespace

bool TilesAreTrapped() { return trapped; }
uint64_t TrappedInstructions(TileOpcode opcode) { return counts[static_cast<int>(opcode)]; }
int64_t ThreadsWithTiles() { return threads_with_tiles; }

}  // namespace inferd::testing

namespace inferd::kernels {

// In place of amx_probe.cc's.
bool AmxBf16Runs() { return testing::TilesAreTrapped() || ProcessorAmxBf16Runs(); }
bool AmxInt8Runs() { return testing::TilesAreTrapped() || ProcessorAmxInt8Runs(); }

}  // namespace inferd::kernels
