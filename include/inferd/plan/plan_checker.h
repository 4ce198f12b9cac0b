#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/plan/batch_plan.h"

namespace inferd {

// What the ranks were built for; a plan outside of it is refused.
struct PlanLimits {
  int32_t num_blocks = 0;  // the padding block included
  int32_t block_size = 0;  // tokens
  int32_t num_slots = 0;
  int32_t max_batched_tokens = 0;
  int32_t max_model_len = 0;  // tokens of prompt and answer
};

// Follows a stream of plans from an empty rank and refuses the first one that
// breaks the contract of batch_plan.h. One thread. Linear in what a plan changes.
//
// Beyond P1 to P3: an entry starts where the last one ended, samples exactly when
// it reaches the end of the known history, its table covers what it computes, and
// every block it writes is in no other table.
class PlanChecker {
 public:
  explicit PlanChecker(const PlanLimits& limits);

  // The newest step whose result was awaited; without this call the second half
  // of P3 is taken for granted (a rank cannot know it).
  void SetCompleted(StepId step) { completed_ = step; }

  // Applies the next plan. After an error the state is no longer defined.
  Status Apply(const BatchPlan& plan);

  // The blocks of a live slot, in order.
  const std::vector<BlockId>& table(SlotId slot) const { return slots_[slot].table; }
  bool live(SlotId slot) const { return slots_[slot].live; }

 private:
  struct Slot {
    bool live = false;
    bool started = false;  // had its first entry
    int32_t admitted = 0;  // tokens of history that came with the admission
    int32_t known = 0;     // tokens of history, those drawn in flight included
    int32_t computed = 0;  // tokens in the KV cache after the last entry
    StepId last_step = 0;  // step of the last entry
    std::vector<BlockId> table;
  };

  Status Release(SlotId slot);
  Status Admit(const BatchPlan& plan, const AdmittedSequence& admitted);
  Status Enter(const BatchPlan& plan, const StepEntry& entry);

  const PlanLimits limits_;
  StepId completed_ = std::numeric_limits<StepId>::max();
  StepId last_step_ = 0;
  std::vector<Slot> slots_;
  std::vector<int32_t> users_;  // [num_blocks] tables that hold the block
};

// One line for the plan log: "step 7: -2 slots, +1 seq (12 tokens), 5 entries,
// 133 tokens, 5 samples, 8 blocks | 0:0+128 1:77+1*d …" (at most `max_entries`).
std::string PlanSummary(const BatchPlan& plan, int max_entries = 16);

}  // namespace inferd
