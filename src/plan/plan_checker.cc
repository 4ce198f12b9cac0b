#include "inferd/plan/plan_checker.h"

#include <string>

namespace inferd {
namespace {

Status Broken(const BatchPlan& plan, std::string_view what) {
  return InternalError("plan " + std::to_string(plan.step) + ": " + std::string(what));
}

Status BrokenSlot(SlotId slot, std::string_view what) {
  return InternalError("slot " + std::to_string(slot) + " " + std::string(what));
}

bool InRange(int64_t first, int64_t count, size_t size) {
  return first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(size);
}

}  // namespace

PlanChecker::PlanChecker(const PlanLimits& limits)
    : limits_(limits),
      slots_(static_cast<size_t>(limits.num_slots)),
      users_(static_cast<size_t>(limits.num_blocks)) {}

Status PlanChecker::Apply(const BatchPlan& plan) {
  // Ranks that were started again join a sequence of steps that began without them.
  if (last_step_ != 0 && plan.step != last_step_ + 1) {
    return Broken(plan, "steps must follow one another");
  }
  last_step_ = plan.step;
  if (plan.entries.empty()) return Broken(plan, "no entries");
  const std::string prefix = "plan " + std::to_string(plan.step);
  for (SlotId slot : plan.released) {
    if (Status s = Release(slot); !s.ok()) return s.WithPrefix(prefix);
  }
  for (const AdmittedSequence& admitted : plan.admitted) {
    if (Status s = Admit(plan, admitted); !s.ok()) return s.WithPrefix(prefix);
  }
  int64_t num_tokens = 0;
  for (const StepEntry& entry : plan.entries) {
    if (Status s = Enter(plan, entry); !s.ok()) return s.WithPrefix(prefix);
    num_tokens += entry.count;
  }
  if (num_tokens > limits_.max_batched_tokens) return Broken(plan, "over the token budget (P2)");
  for (const AdmittedSequence& admitted : plan.admitted) {
    if (!slots_[admitted.slot].started) {
      return Broken(plan, "an admitted sequence has no entry");
    }
  }
  return OkStatus();
}

Status PlanChecker::Release(SlotId slot) {
  if (slot < 0 || slot >= limits_.num_slots) return BrokenSlot(slot, "does not exist");
  Slot& s = slots_[slot];
  if (!s.live) return BrokenSlot(slot, "is released but not live");
  if (s.last_step > completed_) return BrokenSlot(slot, "is released while in flight (P3)");
  for (BlockId block : s.table) --users_[block];
  s = Slot{};
  return OkStatus();
}

Status PlanChecker::Admit(const BatchPlan& plan, const AdmittedSequence& admitted) {
  const SlotId slot = admitted.slot;
  if (slot < 0 || slot >= limits_.num_slots) return BrokenSlot(slot, "does not exist");
  Slot& s = slots_[slot];
  if (s.live) return BrokenSlot(slot, "is admitted but live");
  if (!InRange(admitted.first_token, admitted.num_tokens, plan.tokens.size())) {
    return BrokenSlot(slot, "has tokens outside of the plan");
  }
  if (admitted.num_prompt < 1 || admitted.num_prompt > admitted.num_tokens ||
      admitted.num_tokens >= limits_.max_model_len) {
    return BrokenSlot(slot, "has a history of impossible length");
  }
  s.live = true;
  s.admitted = s.known = admitted.num_tokens;
  return OkStatus();
}

Status PlanChecker::Enter(const BatchPlan& plan, const StepEntry& entry) {
  const SlotId slot = entry.slot;
  if (slot < 0 || slot >= limits_.num_slots) return BrokenSlot(slot, "does not exist");
  Slot& s = slots_[slot];
  if (!s.live) return BrokenSlot(slot, "has an entry but is not live (P3)");
  if (s.last_step == plan.step) return BrokenSlot(slot, "is named twice (P1)");
  s.last_step = plan.step;
  if (entry.count < 1) return BrokenSlot(slot, "has an empty entry");
  if (!s.started) {
    if (entry.start < 0 || entry.start % limits_.block_size != 0) {
      return BrokenSlot(slot, "starts inside of a block");
    }
  } else if (entry.start != s.computed) {
    return BrokenSlot(slot, "does not start where it ended");
  }
  s.started = true;
  const int64_t end = int64_t{entry.start} + entry.count;
  if (end > s.known) return BrokenSlot(slot, "computes past its history");
  if ((entry.sample != 0) != (end == s.known)) {
    return BrokenSlot(slot, "samples before the end of its history, or not at the end");
  }
  if (entry.input_on_device != 0 && (entry.count != 1 || entry.start < s.admitted)) {
    return BrokenSlot(slot, "takes a token from the device that the host knows");
  }
  s.computed = static_cast<int32_t>(end);
  if (entry.sample != 0 && ++s.known > limits_.max_model_len) {
    return BrokenSlot(slot, "grows past the context");
  }
  if (!InRange(entry.first_new_block, entry.num_new_blocks, plan.new_blocks.size())) {
    return BrokenSlot(slot, "has blocks outside of the plan");
  }
  for (int32_t i = 0; i < entry.num_new_blocks; ++i) {
    const BlockId block = plan.new_blocks[entry.first_new_block + i];
    if (block <= kPaddingBlock || block >= limits_.num_blocks) {
      return BrokenSlot(slot, "is given a block that does not exist");
    }
    s.table.push_back(block);
    ++users_[block];
  }
  const int64_t covered = static_cast<int64_t>(s.table.size()) * limits_.block_size;
  if (covered < end) return BrokenSlot(slot, "has too few blocks");
  for (int64_t i = entry.start / limits_.block_size; i * limits_.block_size < end; ++i) {
    if (users_[s.table[static_cast<size_t>(i)]] != 1) {
      return BrokenSlot(slot, "writes a block that another table holds");
    }
  }
  return OkStatus();
}

}  // namespace inferd
