// The scheduler's bookkeeping, checked from scratch.
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "sched/scheduler.h"

namespace inferd {
namespace {

Status Broken(const Sequence& s, const char* what) {
  return InternalError("request " + std::to_string(s.request->spec.id) + " choice " +
                       std::to_string(s.key.choice) + ": " + what);
}

Status CheckSequence(const Sequence& s, int32_t block_size) {
  // After the end what was drawn in flight is dropped, not appended.
  const bool ended = s.state >= SequenceState::kFinished;
  if (s.num_computed < 0 || (!ended && s.num_computed > s.NumKnown())) {
    return Broken(s, "num_computed is outside of its history (S1)");
  }
  if (s.num_pending < 0 || s.num_pending > s.in_flight) {
    return Broken(s, "more tokens pending than plans in flight (S3)");
  }
  const bool runs = s.state == SequenceState::kRunning;
  const auto covered = static_cast<int64_t>(s.table.blocks.size()) * block_size;
  if (runs && covered < s.num_computed) return Broken(s, "too few blocks (S2)");
  if (runs && s.slot == kNoSlot) return Broken(s, "runs without a slot");
  if (!runs && s.state != SequenceState::kFinished &&
      (s.slot != kNoSlot || !s.table.blocks.empty() || s.in_flight != 0)) {
    return Broken(s, "holds something without running");
  }
  return OkStatus();
}

}  // namespace

Status Scheduler::CheckIntegrity() const {
  std::vector<const BlockTable*> tables;
  std::vector<uint8_t> slot_used(static_cast<size_t>(options_.max_running));
  auto use_slot = [&](SlotId slot) {
    return slot >= 0 && slot < options_.max_running && slot_used[slot]++ == 0;
  };
  size_t num_waiting = 0, num_running = 0, num_leaving = 0;
  int32_t num_held = 0;
  int64_t queued_tokens = 0, in_flight = 0;
  std::unordered_map<const TenantAccount*, int32_t> requests_of;
  for (const auto& [id, request] : requests_) {
    ++requests_of[request->account];
    int32_t live = 0, unreaped = 0;
    if (request->queued) queued_tokens += request->prompt_tokens;
    bool led = false, held = false;
    for (const Sequence& s : request->choices) {
      INFERD_RETURN_IF_ERROR(CheckSequence(s, options_.block_size));
      if (s.slot != kNoSlot) {
        if (!use_slot(s.slot)) return Broken(s, "shares its slot");
        tables.push_back(&s.table);
      }
      in_flight += s.in_flight;
      switch (s.state) {
        case SequenceState::kHeld:
          ++num_held;
          held = true;
          break;
        case SequenceState::kWaiting: {
          ++num_waiting;
          led = true;
          if (!waiting_.Contains(s)) return Broken(s, "waits outside of the queue");
          break;
        }
        case SequenceState::kRunning:
          ++num_running;
          led = true;
          if (std::find(running_.begin(), running_.end(), &s) == running_.end()) {
            return Broken(s, "runs but is not listed");
          }
          break;
        case SequenceState::kFinished:
          ++num_leaving;
          if (s.in_flight == 0) return Broken(s, "was not reaped (R2)");
          break;
        case SequenceState::kReaped:
          break;
      }
      live += s.state < SequenceState::kFinished ? 1 : 0;
      unreaped += s.state != SequenceState::kReaped ? 1 : 0;
    }
    const Sequence& first = request->choices.front();
    if (held && !led) return Broken(first, "its siblings are held back for nobody");
    if (live != request->live_choices || unreaped != request->unreaped_choices || unreaped == 0) {
      return Broken(first, "its request miscounts its choices");
    }
  }
  if (num_waiting != waiting_.size() || num_running != running_.size() ||
      num_leaving != leaving_.size() || num_held != num_held_) {
    return InternalError("scheduler: a queue lists a sequence that is elsewhere");
  }
  if (queued_tokens != waiting_prompt_tokens_) {
    return InternalError("scheduler: waiting_prompt_tokens is wrong");
  }
  for (size_t i = 1; i < running_.size(); ++i) {
    if (!(running_[i - 1]->key < running_[i]->key)) {
      return Broken(*running_[i], "is out of order among the running");
    }
  }
  for (const SlotId slot : free_slots_) {
    if (!use_slot(slot)) return InternalError("scheduler: a free slot is in use");
  }
  if (std::count(slot_used.begin(), slot_used.end(), uint8_t{1}) != options_.max_running) {
    return InternalError("scheduler: a slot is neither free nor in use");
  }
  if (solo_ != nullptr && (solo_->state != SequenceState::kRunning || !IsSuspect(*solo_))) {
    return InternalError("scheduler: a sequence that is no suspect runs alone");
  }
  int64_t named = 0;
  for (const Record& record : records_) {
    named += static_cast<int64_t>(record.sequences.size()) -
             std::count(record.sequences.begin(), record.sequences.end(), nullptr);
  }
  if (named != in_flight) {
    return InternalError("scheduler: plans in flight and sequences disagree");
  }
  for (const auto& [account, count] : requests_of) {
    if (account == nullptr || account->requests != count) {
      return InternalError("scheduler: it miscounts its tenants' requests");
    }
  }
  INFERD_RETURN_IF_ERROR(waiting_.CheckIntegrity());
  return kv_.CheckIntegrity(tables);
}

}  // namespace inferd
