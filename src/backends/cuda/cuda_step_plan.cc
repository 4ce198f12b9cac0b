#include "backends/cuda/cuda_step_plan.h"

#include <algorithm>
#include <span>

namespace inferd {

CudaStepPlan::CudaStepPlan(Device& device, int32_t max_tokens, int32_t max_sequences,
                           int32_t max_blocks)
    : HostStepPlan(max_tokens, max_sequences, max_blocks),
      device_(device),
      max_tokens_(max_tokens),
      max_sequences_(max_sequences),
      max_blocks_(std::max(1, max_blocks)),
      positions_(max_tokens_),
      sequences_(positions_ + max_tokens_),
      samples_(sequences_ + max_tokens_),
      starts_(samples_ + max_tokens_),
      contexts_(starts_ + max_sequences_ + 1),
      tables_(contexts_ + max_sequences_),
      words_(device, tables_ + int64_t{max_sequences_} * max_blocks_, tables_),
      graphs_(device) {
  const auto rows = static_cast<size_t>(max_sequences);
  pad_ids_.reserve(rows);
  pad_positions_.reserve(rows);
  pad_starts_.reserve(rows + 1);
  pad_contexts_.reserve(rows);
  pad_tables_.reserve(rows * static_cast<size_t>(max_blocks_));
  pad_samples_.reserve(rows);
}

CudaStepPlan::~CudaStepPlan() {
  device_.Use();
  (void)device_.Wait();
}

int64_t CudaStepPlan::DeviceBytes(int32_t max_tokens, int32_t max_sequences, int32_t max_blocks) {
  // As the constructor lays them out.
  return StepWords::DeviceBytes(4 * int64_t{max_tokens} + 1 +
                                int64_t{max_sequences} * (2 + std::max(1, max_blocks)));
}

int64_t CudaStepPlan::WorkBytes(int32_t max_tokens, int32_t max_sequences, int64_t max_context,
                                int32_t group, int32_t num_kv_heads) {
  const int64_t decode = cuda::MaxDecodeItems(max_sequences, max_context);
  const int64_t prefill = cuda::MaxPrefillItems(max_sequences, max_tokens, group);
  return static_cast<int64_t>(LayoutOf(decode, prefill, decode * num_kv_heads).bytes);
}

// Parts of one allocation, each from a multiple of ArenaMap::kUnit on, the counts first.
CudaStepPlan::WorkLayout CudaStepPlan::LayoutOf(int64_t decode, int64_t prefill,
                                                int64_t num_arrivals) {
  size_t bytes = 0;
  const auto place = [&](int64_t count, size_t size) {
    const size_t at = bytes;
    bytes += (static_cast<size_t>(count) * size + ArenaMap::kUnit - 1) / ArenaMap::kUnit *
             ArenaMap::kUnit;
    return at;
  };
  place(1, sizeof(cuda::AttentionCounts));
  const size_t decode_at = place(decode, sizeof(cuda::DecodeItem));
  const size_t prefill_at = place(prefill, sizeof(cuda::PrefillItem));
  const size_t arrivals_at = place(num_arrivals, sizeof(int32_t));
  return {decode_at, prefill_at, arrivals_at, bytes};
}

bool CudaStepPlan::IsDecode(const StepInputs& inputs) {
  return inputs.num_tokens > 0 && inputs.num_tokens == inputs.num_sequences &&
         std::ssize(inputs.sample_rows) == inputs.num_tokens;
}

void CudaStepPlan::Plan(const StepInputs& inputs, int32_t rows) {
  const int32_t tokens = inputs.num_tokens;
  real_rows_ = tokens;
  is_decode_ = IsDecode(inputs);
  work_.ready = false;
  if (rows <= tokens) {
    Set(inputs);
    return Send();
  }
  SetPadded(inputs, rows);
  Send();
}

void CudaStepPlan::PlanPadding(int32_t rows) {
  constexpr int32_t kNoRows[] = {0};
  StepInputs nothing;
  nothing.row_start = kNoRows;
  nothing.table_stride = 1;
  real_rows_ = 0;
  is_decode_ = true;
  work_.ready = false;
  SetPadded(nothing, rows);
}

void CudaStepPlan::SetPadded(const StepInputs& inputs, int32_t rows) {
  const int32_t tokens = inputs.num_tokens;
  INFERD_CHECK(tokens == inputs.num_sequences && rows <= max_sequences_ && rows <= max_tokens_);
  StepInputs padded = inputs;
  padded.num_tokens = padded.num_sequences = rows;
  const auto pad = [&](auto* to, const auto& from, auto value) {
    to->assign(from.begin(), from.begin() + tokens);
    to->resize(static_cast<size_t>(rows), value);
  };
  pad(&pad_ids_, inputs.token_ids, TokenId{0});
  pad(&pad_positions_, inputs.positions, 0);
  pad(&pad_contexts_, inputs.context_len, 1);
  pad_starts_.resize(static_cast<size_t>(rows) + 1);
  pad_samples_.resize(static_cast<size_t>(rows));
  for (int32_t i = 0; i <= rows; ++i) pad_starts_[i] = i;
  for (int32_t i = 0; i < rows; ++i) pad_samples_[i] = i;
  const auto used = static_cast<std::ptrdiff_t>(tokens) * inputs.table_stride;
  pad_tables_.assign(inputs.block_tables.begin(), inputs.block_tables.begin() + used);
  pad_tables_.resize(static_cast<size_t>(rows) * inputs.table_stride, kPaddingBlock);
  padded.token_ids = pad_ids_;
  padded.positions = pad_positions_;
  padded.context_len = pad_contexts_;
  padded.row_start = pad_starts_;
  padded.sample_rows = pad_samples_;
  padded.block_tables = pad_tables_;
  Set(padded);
}

CudaStepPlan::AttentionWork* CudaStepPlan::WorkFor(int32_t block_size, int32_t group,
                                                   int32_t num_kv_heads) const {
  const int64_t max_context = int64_t{max_blocks_} * block_size;
  // What layers with other heads had is kept, or it would be taken in turns.
  const int64_t decode =
      std::max<int64_t>(work_.max_decode, cuda::MaxDecodeItems(max_sequences_, max_context));
  const int64_t prefill = std::max<int64_t>(
      work_.max_prefill, cuda::MaxPrefillItems(max_sequences_, max_tokens_, group));
  const int64_t num_arrivals = std::max(work_.num_arrivals, decode * num_kv_heads);
  // A list is for the heads it was made for.
  if (work_.group != group || work_.num_kv_heads != num_kv_heads) work_.ready = false;
  work_.group = group;
  work_.num_kv_heads = num_kv_heads;
  if (work_.max_decode == decode && work_.max_prefill == prefill &&
      work_.num_arrivals == num_arrivals) {
    return &work_;
  }
  work_.ready = false;
  const WorkLayout layout = LayoutOf(decode, prefill, num_arrivals);
  auto items = Buffer::Create(device_, layout.bytes);
  if (!items.ok()) {
    device_.Fail(items.status());
    return nullptr;
  }
  work_.items = std::move(*items);
  std::byte* data = work_.items.data();
  work_.counts = reinterpret_cast<cuda::AttentionCounts*>(data);
  work_.decode = reinterpret_cast<cuda::DecodeItem*>(data + layout.decode);
  work_.prefill = reinterpret_cast<cuda::PrefillItem*>(data + layout.prefill);
  work_.arrivals = reinterpret_cast<int32_t*>(data + layout.arrivals);
  work_.num_arrivals = num_arrivals;
  work_.max_decode = static_cast<int32_t>(decode);
  work_.max_prefill = static_cast<int32_t>(prefill);
  device_.Fill(work_.arrivals, 0, layout.bytes - layout.arrivals);
  return device_.ok() ? &work_ : nullptr;
}

// Words of rows and sequences the step does not have stay as they were.
void CudaStepPlan::Send() {
  for (int32_t t = 0; t < num_tokens(); ++t) {
    words_.Put(t, token_id(t));
    words_.Put(positions_ + t, t < real_rows_ ? position(t) : -1);
    words_.Put(sequences_ + t, sequence_of(t));
  }
  for (int32_t i = 0; i < num_sample_rows(); ++i) words_.Put(samples_ + i, sample_row(i));
  const auto stride = static_cast<size_t>(input_table_stride());
  for (int32_t s = 0; s < num_sequences(); ++s) {
    words_.Put(starts_ + s + 1, row_end(s));
    words_.Put(contexts_ + s, row_end(s) <= real_rows_ ? context_len(s) : 0);
    words_.Put(tables_ + int64_t{s} * max_blocks_, std::span(block_table(s), stride));
  }
  words_.Send();
}

}  // namespace inferd
