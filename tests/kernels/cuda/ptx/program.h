// A kernel as the interpreter runs it: instructions with their operands' places, made of
// a Function by decode.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/ptx/module.h"

namespace inferd::cuda::ptx {

inline constexpr unsigned kLanes = 32;
inline constexpr uint32_t kEveryLane = 0xFFFFFFFFU;
inline constexpr Slot kNoSlot = 0xFFFFFFFFU;

class Warp;
struct Instruction;

// Does what the instruction does for the lanes named.
using Execute = void (*)(Warp& warp, const Instruction& instruction, uint32_t lanes);

enum class Flow : uint8_t {
  kNext,
  kBranch,  // number: the target
  kExit,
  kBarrier,  // of the block
  // Waits until the lanes of a mask have come, then runs once for all of them.
  kGather,         // the mask is in `mask`
  kGatherAligned,  // all of the warp
};

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam };

struct Instruction {
  Execute execute = nullptr;
  Flow flow = Flow::kNext;
  bool guarded = false;
  bool guard_negated = false;
  Space space = Space::kGeneric;  // of an access to memory
  uint8_t count = 0;              // elements of a vector
  uint8_t bytes = 0;              // of an element in memory
  uint8_t widths[3] = {};         // of lanes, where they need not be those of a type
  int line = 0;
  int source = -1;
  Slot guard = kNoSlot;
  Slot mask = kNoSlot;
  // Destinations first.
  Slot slots[14] = {kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot,
                    kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot, kNoSlot};
  uint64_t number = 0;  // an offset, a target, a table
};

// A register that holds the same in all lanes of all warps.
struct Constant {
  Slot slot;
  uint8_t bytes;
  uint64_t value;
};

enum class Special : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,  // NOLINT
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,  // NOLINT
  kLaneId,
  kWarpId,
  kLaneMaskLt,
  kLaneMaskLe,
  kLaneMaskGt,
  kLaneMaskGe,
  kLaneMaskEq,
};
struct SpecialRegister {
  Special special;
  Slot slot;  // of 32 bits
};

struct Program {
  std::string name;
  unsigned max_threads = 1024;
  size_t param_bytes = 0;
  size_t local_bytes = 0;
  Slot register_bytes = 0;
  std::vector<Instruction> code;
  std::vector<Constant> constants;
  std::vector<SpecialRegister> specials;
  std::vector<std::string> sources;
  // Static shared memory, [begin, end) in the window of shared memory; what lies between
  // belongs to nobody. Then the dynamic one.
  struct Piece {
    uint64_t begin;
    uint64_t end;
  };
  std::vector<Piece> shared;
  uint64_t dynamic_begin = 0;
};

// Null and `error` where something in it is not known.
std::unique_ptr<Program> Decode(const Function& function, std::string* error);

}  // namespace inferd::cuda::ptx
