#include "runtime/seq_table.h"

#include <iterator>
#include <string>

namespace inferd::runtime {
namespace {

Status Broken(std::string_view what, SlotId slot) {
  return InternalError("plan: slot " + std::to_string(slot) + ": " + std::string(what));
}

// [first, first + count) lies within a list of `size`.
bool Within(int64_t first, int64_t count, size_t size) {
  return first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(size);
}

}  // namespace

SeqTable::SeqTable(const RankLimits& limits)
    : limits_(limits),
      slots_(static_cast<size_t>(limits.max_running)),
      named_in_(static_cast<size_t>(limits.max_running), 0) {}

RankSequence* SeqTable::Find(SlotId slot) {
  return slot >= 0 && slot < limits_.max_running ? &slots_[static_cast<size_t>(slot)] : nullptr;
}

Status SeqTable::Apply(const BatchPlan& plan) {
  ++applies_;
  if (applies_ > 1 && plan.step <= last_step_) {
    return InternalError("plan: step " + std::to_string(plan.step) + " is not after step " +
                         std::to_string(last_step_));
  }
  last_step_ = plan.step;
  for (const SlotId slot : plan.released) INFERD_RETURN_IF_ERROR(Release(slot));
  for (const AdmittedSequence& a : plan.admitted) INFERD_RETURN_IF_ERROR(Admit(plan, a));
  int64_t tokens = 0;
  for (const StepEntry& entry : plan.entries) {
    INFERD_RETURN_IF_ERROR(Enter(plan, entry));
    tokens += entry.count;
  }
  if (tokens > limits_.max_batched_tokens) {
    return InternalError("plan: " + std::to_string(tokens) + " tokens exceed the budget");  // P2
  }
  return OkStatus();
}

Status SeqTable::Release(SlotId slot) {
  RankSequence* sequence = Find(slot);
  if (sequence == nullptr || !sequence->live) return Broken("released while empty", slot);
  sequence->live = false;
  sequence->started = false;
  sequence->computed = 0;
  sequence->num_prompt = 0;
  sequence->history.clear();
  sequence->table.clear();
  sequence->sampling = SamplingParams();
  return OkStatus();
}

Status SeqTable::Admit(const BatchPlan& plan, const AdmittedSequence& admitted) {
  RankSequence* sequence = Find(admitted.slot);
  if (sequence == nullptr || sequence->live) return Broken("admitted while taken", admitted.slot);
  if (admitted.num_tokens < 1 || admitted.num_tokens > limits_.max_model_len ||
      admitted.num_prompt < 0 || admitted.num_prompt > admitted.num_tokens ||
      !Within(admitted.first_token, admitted.num_tokens, plan.tokens.size())) {
    return Broken("admitted with a bad history", admitted.slot);
  }
  const std::span<const TokenId> tokens(plan.tokens.data() + admitted.first_token,
                                        static_cast<size_t>(admitted.num_tokens));
  for (const TokenId token : tokens) {
    if (token < 0 || token >= limits_.vocab_size) {
      return Broken("has a token outside the vocabulary", admitted.slot);
    }
  }
  sequence->live = true;
  sequence->num_prompt = admitted.num_prompt;
  sequence->history.assign(tokens.begin(), tokens.end());
  sequence->sampling = admitted.sampling;
  return OkStatus();
}

Status SeqTable::Enter(const BatchPlan& plan, const StepEntry& entry) {
  RankSequence* sequence = Find(entry.slot);
  if (sequence == nullptr || !sequence->live) return Broken("runs while empty", entry.slot);  // P3
  uint64_t& named = named_in_[static_cast<size_t>(entry.slot)];
  if (named == applies_) return Broken("is named twice", entry.slot);  // P1
  named = applies_;

  const int64_t end = int64_t{entry.start} + entry.count;
  INFERD_RETURN_IF_ERROR(TakeInput(entry, end, sequence));
  const auto known = static_cast<int64_t>(sequence->history.size());
  if (entry.count < 1 || entry.start < 0 || end > known || end > limits_.max_model_len) {
    return Broken("runs positions it does not have", entry.slot);
  }
  // After a prefix hit the first entry starts anywhere; from then on, where the
  // last one ended.
  if (sequence->started && entry.start != sequence->computed) {
    return Broken("does not continue where it stopped", entry.slot);
  }
  if (entry.sample != 0 && end != known) {
    return Broken("samples before the end of its history", entry.slot);
  }
  if (!Within(entry.first_new_block, entry.num_new_blocks, plan.new_blocks.size())) {
    return Broken("has bad new blocks", entry.slot);
  }
  const auto first_new_block = static_cast<size_t>(entry.first_new_block);
  for (size_t i = 0; i < entry.num_new_blocks; ++i) {
    const BlockId block = plan.new_blocks[first_new_block + i];
    if (block <= kPaddingBlock || block >= limits_.num_blocks) {
      return Broken("gets a block that does not exist", entry.slot);
    }
    sequence->table.push_back(block);
  }
  const auto blocks = static_cast<int64_t>(sequence->table.size());
  if (blocks * limits_.block_size < end || blocks > limits_.MaxBlocksPerSequence()) {
    return Broken("has a block table of the wrong length", entry.slot);
  }
  sequence->started = true;
  sequence->computed = static_cast<int32_t>(end);
  return OkStatus();
}

Status SeqTable::TakeInput(const StepEntry& entry, int64_t end, RankSequence* sequence) {
  if (entry.input_token < 0) return OkStatus();
  if (entry.input_token >= limits_.vocab_size) {
    return Broken("is given a token outside the vocabulary", entry.slot);
  }
  const auto known = static_cast<int64_t>(sequence->history.size());
  if (end == known + 1 && end <= limits_.max_model_len) {
    sequence->history.push_back(entry.input_token);  // drawn on another rank
  } else if (end < 1 || end > known ||
             sequence->history[static_cast<size_t>(end) - 1] != entry.input_token) {
    return Broken("is given another token than it has", entry.slot);
  }
  return OkStatus();
}

Status SeqTable::Learn(SlotId slot, int32_t position, TokenId token) {
  RankSequence* sequence = Find(slot);
  if (sequence == nullptr || position < 0 || position >= std::ssize(sequence->history) ||
      sequence->history[static_cast<size_t>(position)] != kUnknownToken) {
    return Broken("is released before its last result", slot);  // P3
  }
  sequence->history[static_cast<size_t>(position)] = token;
  return OkStatus();
}

Status SeqTable::CheckIntegrity() const {
  for (SlotId slot = 0; slot < limits_.max_running; ++slot) {
    const RankSequence& s = at(slot);
    if (!s.live) {
      if (!s.history.empty() || !s.table.empty()) return Broken("empty but not clean", slot);
      continue;
    }
    const bool positions_hold =
        s.num_prompt >= 0 && s.num_prompt <= static_cast<int64_t>(s.history.size()) &&
        s.computed <= static_cast<int64_t>(s.history.size()) &&
        static_cast<int64_t>(s.table.size()) * limits_.block_size >= s.computed;
    if (!positions_hold) return Broken("positions, history and table disagree", slot);
    for (const BlockId block : s.table) {
      if (block <= kPaddingBlock || block >= limits_.num_blocks) {
        return Broken("table names a block that does not exist", slot);
      }
    }
  }
  return OkStatus();
}

}  // namespace inferd::runtime
