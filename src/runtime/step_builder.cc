#include "runtime/step_builder.h"

#include <algorithm>

namespace inferd::runtime {
namespace {

SampleRow MakeSampleRow(SlotId slot, const RankSequence& sequence) {
  const SamplingParams& p = sequence.sampling;
  SampleRow row;
  row.temperature = p.temperature;
  row.top_k = p.top_k;
  row.top_p = p.top_p;
  row.min_p = p.min_p;
  row.repetition_penalty = p.repetition_penalty;
  row.presence_penalty = p.presence_penalty;
  row.frequency_penalty = p.frequency_penalty;
  row.logit_bias = p.logit_bias;
  const auto length = static_cast<int64_t>(sequence.history.size());
  if (length - sequence.num_prompt < p.min_tokens) row.banned = p.banned_until_min;
  if (p.UsesPenalties()) row.history = sequence.history;
  row.num_prompt = sequence.num_prompt;
  row.seed = p.seed;
  row.position = static_cast<uint64_t>(length);
  row.logprobs = p.logprobs;
  row.slot = slot;
  return row;
}

}  // namespace

StepBuilder::StepBuilder(const RankLimits& limits) {
  const auto tokens = static_cast<size_t>(limits.max_batched_tokens);
  const auto sequences = static_cast<size_t>(limits.max_running);
  token_ids_.reserve(tokens);
  positions_.reserve(tokens);
  row_start_.reserve(sequences + 1);
  context_len_.reserve(sequences);
  tables_.reserve(sequences * static_cast<size_t>(limits.MaxBlocksPerSequence()));
  sample_at_.reserve(sequences);
  rows_.reserve(sequences);
  slots_.reserve(sequences);
}

const StepInputs& StepBuilder::Build(const BatchPlan& plan, const SeqTable& sequences) {
  token_ids_.clear();
  positions_.clear();
  row_start_.assign(1, 0);
  context_len_.clear();
  sample_at_.clear();
  rows_.clear();
  slots_.clear();

  size_t stride = 1;
  for (const StepEntry& entry : plan.entries) {
    stride = std::max(stride, sequences.at(entry.slot).table.size());
  }
  tables_.assign(stride * plan.entries.size(), kPaddingBlock);
  auto table_row = tables_.begin();
  for (const StepEntry& entry : plan.entries) {
    const RankSequence& sequence = sequences.at(entry.slot);
    const auto first = sequence.history.begin() + entry.start;
    token_ids_.insert(token_ids_.end(), first, first + entry.count);
    if (token_ids_.back() == SeqTable::kUnknownToken) token_ids_.back() = DrawnToken(entry.slot);
    for (int32_t i = 0; i < entry.count; ++i) positions_.push_back(entry.start + i);
    row_start_.push_back(static_cast<int32_t>(token_ids_.size()));
    context_len_.push_back(entry.start + entry.count);
    std::copy(sequence.table.begin(), sequence.table.end(), table_row);
    table_row += static_cast<std::ptrdiff_t>(stride);
    if (entry.sample == 0) continue;
    sample_at_.push_back(row_start_.back() - 1);
    rows_.push_back(MakeSampleRow(entry.slot, sequence));
    slots_.push_back(entry.slot);
  }

  inputs_.num_tokens = static_cast<int32_t>(token_ids_.size());
  inputs_.num_sequences = static_cast<int32_t>(plan.entries.size());
  inputs_.token_ids = token_ids_;
  inputs_.positions = positions_;
  inputs_.row_start = row_start_;
  inputs_.context_len = context_len_;
  inputs_.block_tables = tables_;
  inputs_.table_stride = static_cast<int32_t>(stride);
  inputs_.sample_rows = sample_at_;
  return inputs_;
}

}  // namespace inferd::runtime
