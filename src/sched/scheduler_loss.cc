// Ranks that died: what is left of the work, and who may have killed them.
#include <algorithm>
#include <utility>
#include <vector>

#include "inferd/base/check.h"
#include "sched/scheduler.h"

namespace inferd {

void Scheduler::AbandonInFlight() {
  INFERD_CHECK(running_.empty() && waiting_.empty() && num_held_ == 0);
  records_.clear();
  for (Sequence* s : std::exchange(leaving_, {})) {
    s->in_flight = s->num_pending = 0;
    Reap(*s);
  }
}

void Scheduler::LoseRanks() {
  records_.clear();
  for (Sequence* s : std::exchange(leaving_, {})) {
    s->in_flight = s->num_pending = 0;
    Reap(*s);
  }
  solo_ = nullptr;
  blocked_head_ = nullptr;
  for (Sequence* s : std::vector<Sequence*>(running_)) {
    if (s->in_flight > 0) ++s->num_losses;
    s->in_flight = 0;
    if (!faults_.keep_pending) s->num_pending = 0;
    if (s->num_losses >= options_.max_rank_losses) {
      EndSequence(*s, FinishReason::kPoison, nullptr);
    } else if (!options_.resume && static_cast<int32_t>(s->tokens.size()) > s->num_prompt) {
      EndSequence(*s, FinishReason::kRanksLost, nullptr);
    }
  }
  for (Sequence* s : std::exchange(running_, {})) {
    LeaveRanks(*s);
    s->num_computed = 0;
    s->lost = true;
    const bool repeat = faults_.repeat_last_token && s->NumGenerated() > 0;
    if (repeat) s->tokens.pop_back();
    Enqueue(*s);
  }
  kv_.ForgetContent();
  if (!faults_.release_to_lost) builder_.Reset();
}

// True when a suspect decides about this step. It begins with nobody else in flight.
bool Scheduler::ScheduleSuspect(int64_t now_us) {
  if (solo_ != nullptr) {
    Sequence& s = *solo_;
    if (s.num_computed < s.num_admitted) GiveEntry(s, std::min(budget_, Remaining(s)));
    return true;
  }
  if (waiting_.empty() || free_slots_.empty()) return false;
  Sequence& head = *waiting_.Head();
  if (!IsSuspect(head) || IsKnownBlocked(head)) return false;
  if (!records_.empty()) return true;
  if (!TryAdmit(head, now_us)) return false;
  solo_ = &head;
  return true;
}

}  // namespace inferd
