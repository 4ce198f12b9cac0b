// What the ranks are told each step. Written by the scheduler, read by every
// rank; plain data, serialisable, and enough on its own: the same plans replayed
// from an empty rank give the same state (P4).
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "inferd/plan/request_spec.h"

namespace inferd {

// A sequence that starts (or starts again after a preemption) on `slot`. Its
// whole known history travels once; from then on the rank appends what it
// samples, so later steps carry no tokens.
struct AdmittedSequence {
  SlotId slot = kNoSlot;
  int32_t first_token = 0;  // its history is plan.tokens[first_token, +num_tokens)
  int32_t num_tokens = 0;
  int32_t num_prompt = 0;  // of these, the client's prompt; the rest was generated before
  SamplingParams sampling;
};

// One sequence's share of a step: compute positions [start, start + count).
// Blocks are appended to the slot's table before it runs. When `sample` is set,
// start + count is the length of the history the rank knows by then, and the
// token drawn is appended to it.
struct StepEntry {
  SlotId slot = kNoSlot;
  int32_t start = 0;            // also: tokens already in the KV cache
  int32_t count = 0;            // >= 1
  int32_t first_new_block = 0;  // plan.new_blocks[first_new_block, +num_new_blocks)
  uint16_t num_new_blocks = 0;
  uint8_t sample = 0;
  // The input token was drawn by the previous step and is not known to the host.
  uint8_t input_on_device = 0;
  // The last token of the range, where the host knows it and a rank may not: a token
  // that was drawn on another rank. -1: every rank knows it, by admission or by drawing.
  TokenId input_token = -1;
};
static_assert(sizeof(StepEntry) == 24 && std::is_trivially_copyable_v<StepEntry>);

// Applied in this order: released, admitted, entries.
//   P1 a slot is named at most once in `entries`.
//   P2 the counts of `entries` add up to at most the token budget.
//   P3 a slot is admitted before its first entry and released only after the
//      result of its last one was awaited.
struct BatchPlan {
  StepId step = 0;
  std::vector<SlotId> released;
  std::vector<AdmittedSequence> admitted;
  std::vector<StepEntry> entries;
  std::vector<BlockId> new_blocks;
  std::vector<TokenId> tokens;

  int32_t NumTokens() const {
    int32_t n = 0;
    for (const StepEntry& e : entries) n += e.count;
    return n;
  }
};

}  // namespace inferd
