#include "kernels/cpu/tile_instruction.h"

#include <cstring>

namespace inferd::testing {
namespace {

constexpr int kNoPrefix = 0;
constexpr int k66 = 1;
constexpr int kF3 = 2;
constexpr int kF2 = 3;
constexpr uint8_t kSibFollows = 4;

// A VEX prefix of three bytes, the opcode and ModRM.
struct Fields {
  bool r;
  bool x;
  bool b;
  uint8_t v;  // not inverted
  int pp;
  uint8_t opcode;
  uint8_t mod;
  uint8_t reg;
  uint8_t rm;

  bool in_memory() const { return mod != 3; }
};

// The address after ModRM. Returns the bytes it takes.
uint8_t DecodeAddress(const uint8_t* code, const Fields& f, TileInstruction* to) {
  uint8_t length = 0;
  uint8_t low = f.rm;
  to->scale = 1;
  if (f.rm == kSibFollows) {
    const uint8_t sib = code[length++];
    const int index = (sib >> 3 & 7) | (f.x ? 8 : 0);
    // The stack pointer's number stands for no index; r12's does not.
    if (index != 4) to->index = static_cast<int8_t>(index);
    to->scale = static_cast<uint8_t>(1 << (sib >> 6));
    low = sib & 7;
  }
  to->base = static_cast<int8_t>(low | (f.b ? 8 : 0));
  uint8_t bytes = f.mod == 1 ? 1 : f.mod == 2 ? 4 : 0;
  // In place of rbp and of r13 without a displacement.
  if (f.mod == 0 && low == 5) {
    to->base = f.rm == kSibFollows ? kNoRegister : kInstructionPointer;
    bytes = 4;
  }
  if (bytes == 1) to->displacement = static_cast<int8_t>(code[length]);
  if (bytes == 4) std::memcpy(&to->displacement, code + length, sizeof(to->displacement));
  return length + bytes;
}

const char* DecodeConfigOpcode(const Fields& f, TileInstruction* to) {
  if (f.v != 0) return "VEX.vvvv is not 1111b";
  if (f.in_memory()) {
    if (f.pp != kNoPrefix && f.pp != k66) return "no such instruction of opcode 49";
    if (f.reg != 0 || f.r) return "the digit of LDTILECFG or STTILECFG is not 0";
    to->opcode = f.pp == k66 ? TileOpcode::kStTileCfg : TileOpcode::kLdTileCfg;
    return nullptr;
  }
  if (f.x || f.b || f.rm != 0) return "no such instruction of opcode 49";
  if (f.pp == kNoPrefix && f.reg == 0 && !f.r) {
    to->opcode = TileOpcode::kTileRelease;
    return nullptr;
  }
  if (f.pp != kF2) return "no such instruction of opcode 49";
  if (f.r) return "there is no such tile";
  to->opcode = TileOpcode::kTileZero;
  to->tile[0] = f.reg;
  return nullptr;
}

const char* DecodeMove(const Fields& f, TileInstruction* to) {
  if (f.v != 0) return "VEX.vvvv is not 1111b";
  if (!f.in_memory() || f.rm != kSibFollows) return "the operand has no SIB";
  if (f.pp == kNoPrefix) return "no such instruction of opcode 4B";
  if (f.r) return "there is no such tile";
  to->opcode = f.pp == kF2   ? TileOpcode::kTileLoadD
               : f.pp == k66 ? TileOpcode::kTileLoadDT1
                             : TileOpcode::kTileStoreD;
  to->tile[0] = f.reg;
  return nullptr;
}

const char* DecodeProduct(const Fields& f, TileInstruction* to) {
  if (f.in_memory()) return "an operand in memory of a product of tiles";
  if (f.opcode == 0x5c) {
    if (f.pp != kF3) return "no such instruction of opcode 5C";
    to->opcode = TileOpcode::kTdpBF16PS;
  } else {
    to->opcode = f.pp == kF2   ? TileOpcode::kTdpBSSD
                 : f.pp == kF3 ? TileOpcode::kTdpBSUD
                 : f.pp == k66 ? TileOpcode::kTdpBUSD
                               : TileOpcode::kTdpBUUD;
  }
  if (f.r || f.x || f.b || f.v > 7) return "there is no such tile";
  to->tile[0] = f.reg;
  to->tile[1] = f.rm;
  to->tile[2] = f.v;
  if (f.reg == f.rm || f.reg == f.v || f.rm == f.v) return "two operands are the same tile";
  return nullptr;
}

}  // namespace

const char* TileOpcodeName(TileOpcode opcode) {
  constexpr const char* kNames[kTileOpcodes] = {
      "ldtilecfg",  "sttilecfg", "tilerelease", "tilezero", "tileloadd", "tileloaddt1",
      "tilestored", "tdpbf16ps", "tdpbssd",     "tdpbsud",  "tdpbusd",   "tdpbuud"};
  return kNames[static_cast<int>(opcode)];
}

const char* DecodeTileInstruction(const uint8_t* code, TileInstruction* instruction) {
  *instruction = {};
  if (code[0] != 0xc4) return "not a VEX prefix of three bytes";
  if ((code[1] & 0x1f) != 2) return "not of the map 0F38";
  const uint8_t last = code[2];
  if ((last & 0x80) != 0) return "VEX.W is 1";
  if ((last & 0x04) != 0) return "VEX.L is 1";
  const uint8_t opcode = code[3];
  if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5c && opcode != 0x5e) {
    return "not an opcode of AMX";
  }
  const uint8_t modrm = code[4];
  const Fields f{(code[1] & 0x80) == 0,
                 (code[1] & 0x40) == 0,
                 (code[1] & 0x20) == 0,
                 static_cast<uint8_t>(~last >> 3 & 15),
                 last & 3,
                 opcode,
                 static_cast<uint8_t>(modrm >> 6),
                 static_cast<uint8_t>(modrm >> 3 & 7),
                 static_cast<uint8_t>(modrm & 7)};
  const char* wrong = opcode == 0x49   ? DecodeConfigOpcode(f, instruction)
                      : opcode == 0x4b ? DecodeMove(f, instruction)
                                       : DecodeProduct(f, instruction);
  if (wrong != nullptr) return wrong;
  instruction->length = 5;
  if (f.in_memory()) instruction->length += DecodeAddress(code + 5, f, instruction);
  return nullptr;
}

}  // namespace inferd::testing
