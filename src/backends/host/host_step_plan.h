// The step plan of the backends that compute in host memory.
#pragma once

#include <cstdint>
#include <vector>

#include "inferd/ops/step.h"

namespace inferd {

// A copy of StepInputs plus what follows from it. Its arrays are sized once;
// Set() never allocates. Used by the rank thread.
class HostStepPlan : public StepPlan {
 public:
  HostStepPlan(int32_t max_tokens, int32_t max_sequences, int32_t max_blocks_per_sequence);

  // Checks `inputs` against the promises of StepInputs and copies it.
  void Set(const StepInputs& inputs);

  int32_t num_tokens() const override { return static_cast<int32_t>(token_ids_.size()); }
  int32_t num_sample_rows() const override { return static_cast<int32_t>(sample_rows_.size()); }
  int32_t num_sequences() const { return static_cast<int32_t>(context_len_.size()); }

  int32_t token_id(int32_t row) const { return token_ids_[row]; }
  int32_t position(int32_t row) const { return positions_[row]; }
  int32_t sequence_of(int32_t row) const { return row_sequence_[row]; }
  int32_t sample_row(int32_t i) const { return sample_rows_[i]; }
  int32_t row_start(int32_t sequence) const { return row_start_[sequence]; }
  int32_t row_end(int32_t sequence) const { return row_start_[sequence + 1]; }
  int32_t context_len(int32_t sequence) const { return context_len_[sequence]; }
  const BlockId* block_table(int32_t sequence) const {
    return block_tables_.data() + static_cast<int64_t>(sequence) * table_stride_;
  }
  int32_t input_table_stride() const { return table_stride_; }
  int32_t max_position() const { return max_position_; }
  int32_t min_token() const { return min_token_; }
  int32_t max_token() const { return max_token_; }

  const std::vector<int32_t>& positions() const { return positions_; }
  const std::vector<TokenId>& token_ids() const { return token_ids_; }

  // The tables reach every position and name only blocks of `kv`.
  void CheckFits(const KvLayerView& kv) const;

 private:
  const int32_t max_tokens_;
  const int32_t max_sequences_;
  const int32_t max_blocks_per_sequence_;
  int32_t table_stride_ = 0;
  int32_t max_position_ = -1;
  int32_t min_token_ = 0;
  int32_t max_token_ = -1;
  BlockId max_block_ = -1;
  std::vector<TokenId> token_ids_;     // [T]
  std::vector<int32_t> positions_;     // [T]
  std::vector<int32_t> row_sequence_;  // [T]
  std::vector<int32_t> row_start_;     // [S + 1]
  std::vector<int32_t> context_len_;   // [S]
  std::vector<BlockId> block_tables_;  // [S, table_stride_]
  std::vector<int32_t> sample_rows_;   // ascending
};

}  // namespace inferd
