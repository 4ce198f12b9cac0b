#pragma once

#include <cstdint>
#include <vector>

#include "inferd/ops/sampling.h"
#include "inferd/ops/step.h"
#include "inferd/plan/batch_plan.h"
#include "runtime/seq_table.h"

namespace inferd::runtime {

// Turns a plan, after SeqTable applied it, into what the ops read: rows,
// positions, block tables and sampling rows. The rank thread. Its arrays are
// allocated once and reused, so what it returns is valid until the next call.
class StepBuilder {
 public:
  explicit StepBuilder(const RankLimits& limits);

  // Rows are in entry order. A token that is being drawn, which only the last of a history
  // can be, becomes DrawnToken of its slot. The block tables are padded with block 0 up to the
  // longest of the step.
  const StepInputs& Build(const BatchPlan& plan, const SeqTable& sequences);

  // Of the last Build, one per entry that samples, in entry order.
  std::span<const SampleRow> sample_rows() const { return rows_; }
  std::span<const SlotId> sample_slots() const { return slots_; }

 private:
  StepInputs inputs_;
  std::vector<TokenId> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> row_start_;
  std::vector<int32_t> context_len_;
  std::vector<BlockId> tables_;
  std::vector<int32_t> sample_at_;  // row whose logits are wanted
  std::vector<SampleRow> rows_;
  std::vector<SlotId> slots_;
};

}  // namespace inferd::runtime
