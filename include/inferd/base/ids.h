// Integer names used everywhere. Plain integers on purpose: they cross threads,
// processes and the wire unchanged.
#pragma once

#include <cstdint>

namespace inferd {

using TokenId = int32_t;      // index into the model's vocabulary
using BlockId = int32_t;      // KV block; 0 is padding and never handed out
using SlotId = int32_t;       // rank-side place of a running sequence
using StepId = uint64_t;      // number of a plan; 1, 2, 3, …
using RequestId = uint64_t;   // given by the front end, unique in the process
using SequenceId = uint64_t;  // one choice of one request, unique in the engine

inline constexpr BlockId kPaddingBlock = 0;
inline constexpr SlotId kNoSlot = -1;

}  // namespace inferd
