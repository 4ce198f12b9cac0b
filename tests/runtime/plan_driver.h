#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "inferd/exec/executor.h"

namespace inferd::testing {

// One sequence to run. Its sampling seed names it in TapOps.
struct DrivenPrompt {
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  int32_t max_new = 1;
  // Blocks another sequence filled with the same tokens: served as if from the
  // prefix cache.
  std::vector<BlockId> shared_blocks;
};

struct DrivenResult {
  std::vector<TokenId> tokens;
  std::vector<BlockId> table;
};

// Writes plans for an executor by the simplest rule there is: every sequence
// gets as much of the budget as it can use, in order. No scheduler involved, so
// the rank is tested on its own. Plans are kept for replay.
class PlanDriver {
 public:
  PlanDriver(Executor& executor, int32_t num_slots, int32_t block_size, int32_t num_blocks);

  // Runs all prompts together, `budget` tokens a step, `depth` plans in flight.
  // Prompt i runs on slot (first_slot + i) modulo the number of slots.
  std::vector<DrivenResult> Run(const std::vector<DrivenPrompt>& prompts, int32_t budget,
                                int32_t depth);

  int32_t first_slot = 0;
  // As for a pipeline: a token is drawn only where the one before is known, entries carry
  // it, and a plan holds at most so many of them.
  bool carry_tokens = false;
  size_t max_entries = 1024;
  // What suits a pipeline of so many stages.
  void SetStages(int stages) {
    carry_tokens = stages > 1;
    max_entries = stages > 1 ? 2 : 1024;
  }
  const std::vector<std::shared_ptr<const BatchPlan>>& plans() const { return plans_; }
  // All blocks may be handed out again.
  void ForgetBlocks() { next_block_ = 1; }

 private:
  struct Running {
    SlotId slot = 0;
    int32_t known = 0;     // tokens of history, those in flight included
    int32_t computed = 0;  // positions
    int32_t sampled = 0;   // tokens asked for so far
    bool admitted = false;
  };
  std::shared_ptr<BatchPlan> Next(const std::vector<DrivenPrompt>& prompts, int32_t budget);

  Executor& executor_;
  const int32_t num_slots_;
  const int32_t block_size_;
  const int32_t num_blocks_;
  StepId step_ = 0;
  BlockId next_block_ = 1;
  std::vector<SlotId> to_release_;
  std::vector<Running> running_;
  std::vector<DrivenResult> results_;
  std::vector<std::shared_ptr<const BatchPlan>> plans_;
};

}  // namespace inferd::testing
