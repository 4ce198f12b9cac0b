#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "inferd/plan/batch_plan.h"

namespace inferd::runtime {

// What the rank was built for; plans outside of it are refused.
struct RankLimits {
  int32_t max_running = 0;         // slots
  int32_t max_batched_tokens = 0;  // rows of one step
  int32_t max_model_len = 0;       // positions of one sequence
  int32_t block_size = 0;          // tokens
  int32_t num_blocks = 0;          // padding block included
  int32_t vocab_size = 0;

  int32_t MaxBlocksPerSequence() const { return (max_model_len + block_size - 1) / block_size; }
};

// A sequence as the rank knows it.
struct RankSequence {
  bool live = false;
  bool started = false;          // had an entry since it was admitted
  int32_t num_prompt = 0;        // of the history
  int32_t computed = 0;          // positions in the KV cache
  std::vector<TokenId> history;  // prompt and generated tokens
  std::vector<BlockId> table;    // KV blocks, by position / block_size
  SamplingParams sampling;
};

// The sequences of a rank, by slot: everything a plan leaves out because it was
// said before. The rank thread. It changes only through plans and the tokens
// drawn, so the same plans from an empty table give the same state (P4).
class SeqTable {
 public:
  explicit SeqTable(const RankLimits& limits);

  // Applies the plan in its order: released, admitted, entries. INTERNAL on the
  // first violation of the plan contract (P1 to P3, ranges, limits); the state is
  // then half changed and the rank must stop. Linear in what the plan holds.
  Status Apply(const BatchPlan& plan);

  // The token drawn for `slot`; kUnknownToken for one that is being drawn.
  void Append(SlotId slot, TokenId token) {
    slots_[static_cast<size_t>(slot)].history.push_back(token);
  }
  static constexpr TokenId kUnknownToken = -1;
  // What an unknown token is by now. INTERNAL when the plans since then took it away.
  Status Learn(SlotId slot, int32_t position, TokenId token);

  const RankSequence& at(SlotId slot) const { return slots_[static_cast<size_t>(slot)]; }
  const RankLimits& limits() const { return limits_; }

  // What must hold between plans, for all slots.
  Status CheckIntegrity() const;

 private:
  // The slot, or null when it is out of range.
  RankSequence* Find(SlotId slot);
  Status Release(SlotId slot);
  Status Admit(const BatchPlan& plan, const AdmittedSequence& admitted);
  Status Enter(const BatchPlan& plan, const StepEntry& entry);
  // The token that the entry carries ends the range; it must be news, or agree.
  Status TakeInput(const StepEntry& entry, int64_t end, RankSequence* sequence);

  const RankLimits limits_;
  std::vector<RankSequence> slots_;
  std::vector<uint64_t> named_in_;  // [slots] the apply that last named the slot in an entry
  uint64_t applies_ = 0;
  StepId last_step_ = 0;
};

}  // namespace inferd::runtime
