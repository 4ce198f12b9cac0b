// What one step looks like to the ops: which rows belong to which sequence, and
// where their keys and values live.
#pragma once

#include <cstdint>
#include <span>

#include "inferd/base/ids.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// In place of a token's id: the token drawn last for `slot` (SampleRow::slot), which the
// host does not know yet. For backends that overlap steps (Ops::MaxSteps) only.
constexpr TokenId DrawnToken(SlotId slot) { return -2 - slot; }

// Host arrays, valid during Ops::PlanStep only. Rows (tokens) are ordered by
// sequence; sequence i owns rows [row_start[i], row_start[i+1]), which sit at
// positions context_len[i] - rows .. context_len[i] - 1 of it.
struct StepInputs {
  int32_t num_tokens = 0;
  int32_t num_sequences = 0;
  std::span<const TokenId> token_ids;     // [num_tokens]
  std::span<const int32_t> positions;     // [num_tokens]
  std::span<const int32_t> row_start;     // [num_sequences + 1]
  std::span<const int32_t> context_len;   // [num_sequences], this step's rows included
  std::span<const BlockId> block_tables;  // [num_sequences, table_stride], padded with block 0
  int32_t table_stride = 0;
  std::span<const int32_t> sample_rows;  // rows whose logits are wanted, ascending
};

// A step as the backend keeps it (its own arrays, work lists). Reused from step
// to step. A backend may pad steps that decode one token of each sequence, within what
// the plan was made for: the numbers below then count the padding behind the step's own.
class StepPlan {
 public:
  virtual ~StepPlan() = default;
  virtual int32_t num_tokens() const = 0;
  virtual int32_t num_sample_rows() const = 0;
};

// Shape of one layer's KV cache. The layout inside a block is the backend's.
struct KvLayerSpec {
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_size = 16;  // tokens
  // kF32, kBF16, kF8E4M3: rounded to nearest even as it is, 448 where it is larger, NaN
  // where it is not finite; or kI8: a key or value of one token and head is 8-bit integers
  // with one f32 scale, max|x| / 127, rounded as in Ops::Linear.
  DType dtype = DType::kBF16;
};

// One layer's keys and values: num_blocks x Ops::KvBytesPerBlock bytes.
struct KvLayerView {
  void* data = nullptr;
  int32_t num_blocks = 0;
  KvLayerSpec spec;
};

}  // namespace inferd
