#include "backends/cuda/sample_arguments.h"

#include <algorithm>

#include "backends/host/sampling_rules.h"

namespace inferd {

bool LooksAtSlot(const SampleRow& row) {
  return HasPenalties(row) && row.slot >= 0 && !row.history.empty() && row.history.back() < 0;
}

void SampleArguments::AddSeen(const SampleRow& row, int64_t vocab) {
  if (!HasPenalties(row)) return;
  counts_.resize(static_cast<size_t>(vocab), 0);
  const auto num_prompt = static_cast<size_t>(std::max(0, row.num_prompt));
  const size_t first = seen_ids_.size();
  // count + 1, so that 0 is "not seen".
  // A negative one at its end is the slot's, which the kernel counts.
  for (size_t i = 0; i < row.history.size(); ++i) {
    const TokenId id = row.history[i];
    if (id < 0 || id >= vocab) continue;
    int32_t& count = counts_[static_cast<size_t>(id)];
    if (count == 0) {
      count = 1;
      seen_ids_.push_back(id);
    }
    if (i >= num_prompt) ++count;
  }
  for (size_t i = first; i < seen_ids_.size(); ++i) {
    int32_t& count = counts_[static_cast<size_t>(seen_ids_[i])];
    seen_counts_.push_back(count - 1);
    count = 0;
  }
}

void SampleArguments::Set(std::span<const SampleRow> rows, int64_t vocab) {
  for (auto* list : {&bias_ids_, &banned_ids_, &seen_ids_, &seen_counts_}) list->clear();
  bias_values_.clear();
  specs_.clear();
  fits_ = true;
  needs_raw_ = any_logprobs_ = any_adjusted_ = any_drawn_ = any_ranked_ = false;
  const auto size = [](const auto& list) { return static_cast<int32_t>(list.size()); };
  for (const SampleRow& row : rows) {
    cuda::SampleSpec spec;
    spec.temperature = row.temperature;
    spec.top_p = row.top_p;
    spec.min_p_cutoff = MinPCutoff(row.min_p);
    spec.top_k = row.top_k;
    spec.logprobs = row.logprobs;
    spec.repetition_penalty = row.repetition_penalty;
    spec.presence_penalty = row.presence_penalty;
    spec.frequency_penalty = row.frequency_penalty;
    spec.seed = row.seed;
    spec.position = row.position;
    spec.bias_begin = size(bias_ids_);
    for (const auto& [id, bias] : row.logit_bias) {
      bias_ids_.push_back(id);
      bias_values_.push_back(bias);
    }
    spec.bias_end = size(bias_ids_);
    spec.banned_begin = size(banned_ids_);
    banned_ids_.insert(banned_ids_.end(), row.banned.begin(), row.banned.end());
    spec.banned_end = size(banned_ids_);
    spec.seen_begin = size(seen_ids_);
    AddSeen(row, vocab);
    spec.slot = row.slot;
    spec.sees_slot = LooksAtSlot(row) ? 1 : 0;
    spec.seen_end = size(seen_ids_);
    const bool adjusted = spec.bias_begin < spec.bias_end || spec.banned_begin < spec.banned_end ||
                          spec.seen_begin < spec.seen_end || spec.sees_slot != 0;
    fits_ = fits_ && row.logprobs <= cuda::kMaxLogprobs;
    any_adjusted_ = any_adjusted_ || adjusted;
    any_logprobs_ = any_logprobs_ || row.logprobs >= 0;
    needs_raw_ = needs_raw_ || (adjusted && row.logprobs >= 0);
    any_drawn_ = any_drawn_ || row.temperature > 0;
    any_ranked_ = any_ranked_ || (row.temperature > 0 && (row.top_k > 0 || row.top_p < 1));
    specs_.push_back(spec);
  }
}

void SampleArguments::SetFlags(cuda::SampleParams* params) const {
  params->any_logprobs = any_logprobs_;
  params->any_adjusted = any_adjusted_;
  params->any_drawn = any_drawn_;
  params->any_ranked = any_ranked_;
}

}  // namespace inferd
