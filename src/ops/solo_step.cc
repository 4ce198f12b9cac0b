#include "inferd/ops/solo_step.h"

#include <numeric>
#include <utility>

namespace inferd {

SoloStep::SoloStep(std::span<const TokenId> tokens, int32_t position, int32_t block_size,
                   std::vector<int32_t> sample_rows)
    : tokens_(tokens),
      positions_(tokens.size()),
      sample_rows_(std::move(sample_rows)),
      row_start_{0, static_cast<int32_t>(tokens.size())},
      context_len_{position + static_cast<int32_t>(tokens.size())} {
  std::iota(positions_.begin(), positions_.end(), position);
  table_.resize(static_cast<size_t>((context_len_[0] + block_size - 1) / block_size));
  std::iota(table_.begin(), table_.end(), BlockId{1});
}

StepInputs SoloStep::inputs() const {
  StepInputs step;
  step.num_tokens = row_start_[1];
  step.num_sequences = 1;
  step.token_ids = tokens_;
  step.positions = positions_;
  step.row_start = row_start_;
  step.context_len = context_len_;
  step.block_tables = table_;
  step.table_stride = static_cast<int32_t>(table_.size());
  step.sample_rows = sample_rows_;
  return step;
}

}  // namespace inferd
