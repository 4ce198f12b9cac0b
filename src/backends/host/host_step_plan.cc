#include "backends/host/host_step_plan.h"

#include <algorithm>

#include "inferd/base/check.h"

namespace inferd {

HostStepPlan::HostStepPlan(int32_t max_tokens, int32_t max_sequences,
                           int32_t max_blocks_per_sequence)
    : max_tokens_(max_tokens),
      max_sequences_(max_sequences),
      max_blocks_per_sequence_(max_blocks_per_sequence) {
  token_ids_.reserve(max_tokens);
  positions_.reserve(max_tokens);
  row_sequence_.reserve(max_tokens);
  sample_rows_.reserve(max_tokens);
  row_start_.reserve(static_cast<size_t>(max_sequences) + 1);
  context_len_.reserve(max_sequences);
  block_tables_.reserve(static_cast<size_t>(max_sequences) * max_blocks_per_sequence);
}

void HostStepPlan::Set(const StepInputs& inputs) {
  INFERD_CHECK(inputs.num_tokens >= 0 && inputs.num_tokens <= max_tokens_);
  INFERD_CHECK(inputs.num_sequences >= 0 && inputs.num_sequences <= max_sequences_);
  INFERD_CHECK(inputs.table_stride >= 0 && inputs.table_stride <= max_blocks_per_sequence_);
  const size_t tokens = inputs.num_tokens;
  const size_t sequences = inputs.num_sequences;
  INFERD_CHECK(inputs.token_ids.size() >= tokens && inputs.positions.size() >= tokens);
  INFERD_CHECK(inputs.row_start.size() >= sequences + 1 && inputs.context_len.size() >= sequences);
  const size_t table_size = sequences * inputs.table_stride;
  INFERD_CHECK(inputs.block_tables.size() >= table_size);
  INFERD_CHECK(inputs.sample_rows.size() <= tokens);
  INFERD_CHECK(inputs.row_start[0] == 0 && inputs.row_start[sequences] == inputs.num_tokens);

  token_ids_.assign(inputs.token_ids.begin(), inputs.token_ids.begin() + tokens);
  positions_.assign(inputs.positions.begin(), inputs.positions.begin() + tokens);
  row_start_.assign(inputs.row_start.begin(), inputs.row_start.begin() + sequences + 1);
  context_len_.assign(inputs.context_len.begin(), inputs.context_len.begin() + sequences);
  block_tables_.assign(inputs.block_tables.begin(), inputs.block_tables.begin() + table_size);
  sample_rows_.assign(inputs.sample_rows.begin(), inputs.sample_rows.end());
  table_stride_ = inputs.table_stride;

  row_sequence_.clear();
  max_position_ = -1;
  for (int32_t s = 0; s < inputs.num_sequences; ++s) {
    const int32_t rows = row_start_[s + 1] - row_start_[s];
    INFERD_CHECK(rows >= 0 && context_len_[s] >= rows);
    for (int32_t i = 0; i < rows; ++i) {
      INFERD_CHECK(positions_[row_start_[s] + i] == context_len_[s] - rows + i);
      row_sequence_.push_back(s);
    }
    max_position_ = std::max(max_position_, context_len_[s] - 1);
  }
  for (size_t i = 0; i < sample_rows_.size(); ++i) {
    INFERD_CHECK(sample_rows_[i] >= 0 && sample_rows_[i] < inputs.num_tokens);
  }
  min_token_ = 0;
  max_token_ = -1;
  for (const TokenId id : token_ids_) {
    min_token_ = std::min(min_token_, id);
    max_token_ = std::max(max_token_, id);
  }
  max_block_ = -1;
  for (const BlockId id : block_tables_) {
    INFERD_CHECK(id >= 0);
    max_block_ = std::max(max_block_, id);
  }
}

void HostStepPlan::CheckFits(const KvLayerView& kv) const {
  INFERD_CHECK(kv.data != nullptr && kv.spec.block_size > 0);
  INFERD_CHECK(max_block_ < kv.num_blocks);
  INFERD_CHECK(max_position_ < static_cast<int64_t>(table_stride_) * kv.spec.block_size);
}

}  // namespace inferd
