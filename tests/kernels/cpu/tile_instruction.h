// The instructions of AMX as bytes: a decoder written from the processor's manual (volume 2:
// "Instruction format", "Intel AMX instruction exception classes" and each instruction's page).
#pragma once

#include <cstdint>

namespace inferd::testing {

enum class TileOpcode : uint8_t {
  kLdTileCfg,
  kStTileCfg,
  kTileRelease,
  kTileZero,
  kTileLoadD,
  kTileLoadDT1,
  kTileStoreD,
  kTdpBF16PS,
  kTdpBSSD,
  kTdpBSUD,
  kTdpBUSD,
  kTdpBUUD,
};
inline constexpr int kTileOpcodes = 12;
const char* TileOpcodeName(TileOpcode opcode);

// Numbers of general registers as instructions encode them: rax, rcx, rdx, rbx, rsp, rbp, rsi,
// rdi, r8 to r15.
inline constexpr int8_t kNoRegister = -1;
inline constexpr int8_t kInstructionPointer = 16;

struct TileInstruction {
  TileOpcode opcode = TileOpcode::kTileRelease;
  uint8_t length = 0;  // bytes
  // Tiles, in the order of the manual: what is loaded, stored, zeroed or added to, then the two
  // that are multiplied.
  uint8_t tile[3] = {};
  // The operand in memory: base + displacement. The index is part of the address of LDTILECFG
  // and STTILECFG; for the others its scaled value is what is between two rows.
  int8_t base = kNoRegister;
  int8_t index = kNoRegister;
  uint8_t scale = 0;  // 0 without such an operand, 1, 2, 4 or 8
  int32_t displacement = 0;
};

// Null, or what is wrong with the instruction at `code`: no more bytes are read than it has.
// Prefixes of other instructions are refused, of addresses (0x64, 0x65, 0x67) as well, which no
// kernel uses. Async-signal-safe.
const char* DecodeTileInstruction(const uint8_t* code, TileInstruction* instruction);

}  // namespace inferd::testing
