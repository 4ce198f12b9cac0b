// Taking results, and the end of sequences.
#include <algorithm>
#include <string>
#include <utility>

#include "inferd/base/check.h"
#include "sched/scheduler.h"

namespace inferd {

Status Scheduler::Commit(const StepResult& result) {
  INFERD_CHECK(!records_.empty());
  INFERD_RETURN_IF_ERROR(result.error);
  INFERD_RETURN_IF_ERROR(CheckAnswers(*records_.front().plan, result));
  Record record = std::move(records_.front());
  records_.pop_front();
  const StepOutput* next_output = result.outputs.data();
  for (size_t i = 0; i < record.sequences.size(); ++i) {
    const StepEntry& entry = record.plan->entries[i];
    const StepOutput* output = entry.sample != 0 ? next_output++ : nullptr;
    Sequence* s = record.sequences[i];
    if (s == nullptr) continue;
    --s->in_flight;
    if (output != nullptr) --s->num_pending;
    if (s->state == SequenceState::kFinished) {
      if (output != nullptr && faults_.deliver_after_finish) {
        Emit(*s, output, FinishReason::kNone);
      }
      if (s->in_flight == 0) {
        leaving_.erase(std::find(leaving_.begin(), leaving_.end(), s));
        Reap(*s);
      }
    } else if (output != nullptr) {
      TakeToken(*s, entry, *output);
    }
  }
  if (step_sequences_.capacity() < record.sequences.capacity()) {
    step_sequences_.swap(record.sequences);
  }
  return OkStatus();
}

Status Scheduler::CheckAnswers(const BatchPlan& plan, const StepResult& result) const {
  const std::string prefix = "result of step " + std::to_string(plan.step) + ": ";
  if (result.step != plan.step) {
    return InternalError(prefix + "is of step " + std::to_string(result.step));
  }
  size_t answered = 0;
  for (const StepEntry& entry : plan.entries) {
    if (entry.sample == 0) continue;
    if (answered == result.outputs.size()) return InternalError(prefix + "outputs are missing");
    const StepOutput& output = result.outputs[answered++];
    if (output.slot != entry.slot) return InternalError(prefix + "outputs are out of order");
    if (!output.corrupted && output.token < 0) return InternalError(prefix + "a negative token");
    if (output.first_top < 0 || output.num_top < 0 ||
        int64_t{output.first_top} + output.num_top > static_cast<int64_t>(result.top.size())) {
      return InternalError(prefix + "logprobs are outside of it");
    }
  }
  if (answered != result.outputs.size()) return InternalError(prefix + "too many outputs");
  return OkStatus();
}

void Scheduler::TakeToken(Sequence& s, const StepEntry& entry, const StepOutput& output) {
  if (output.corrupted) {
    // P16: what this step wrote is not published, now or later.
    ++counters_.corrupted;
    if (faults_.publish_corrupted) PublishUpTo(s, entry.start + entry.count);
    EndSequence(s, FinishReason::kCorrupted, nullptr);
    return;
  }
  s.tokens.push_back(output.token);
  s.num_losses = 0;
  if (solo_ == &s) solo_ = nullptr;
  ++counters_.generation_tokens;
  WaitingQueue::Charge(*s.request->account, kDrawnTokenCost);
  // Finite logits vouch for everything this token attended to, earlier chunks
  // included: only now may others find it.
  PublishUpTo(s, entry.start + entry.count);
  Unhold(*s.request, /*all=*/true);

  const StopRules& stop = s.request->spec.stop;
  const auto num_generated = static_cast<int32_t>(s.tokens.size()) - s.num_prompt;
  bool stopped = std::find(stop.stop_tokens.begin(), stop.stop_tokens.end(), output.token) !=
                 stop.stop_tokens.end();
  if (stopped && faults_.overlook_stop && ++num_fault_events_ % 5 == 0) stopped = false;
  if (stopped) {
    EndSequence(s, FinishReason::kStopToken, &output);
  } else if (num_generated >= stop.max_new_tokens ||
             static_cast<int32_t>(s.tokens.size()) >= max_len_) {
    EndSequence(s, FinishReason::kLength, &output);
  } else {
    Emit(s, &output, FinishReason::kNone);
  }
}

void Scheduler::EndSequence(Sequence& s, FinishReason reason, const StepOutput* last) {
  Request& request = *s.request;
  const bool was_held = s.state == SequenceState::kHeld;
  if (was_held) {
    --num_held_;
  } else if (s.state == SequenceState::kWaiting) {
    waiting_.Erase(s);
    if (blocked_head_ == &s) blocked_head_ = nullptr;
  } else {
    const auto place =
        std::lower_bound(running_.begin(), running_.end(), &s,
                         [](const Sequence* a, const Sequence* b) { return a->key < b->key; });
    INFERD_CHECK(place != running_.end() && *place == &s);
    running_.erase(place);
  }
  if (solo_ == &s) solo_ = nullptr;
  s.state = SequenceState::kFinished;
  s.finish = reason;
  ++counters_.choices_finished[static_cast<size_t>(reason)];
  Emit(s, last, reason);
  if (--request.live_choices == 0) {
    if (request.queued) Dequeue(request, /*scheduled=*/false);
    if (request.spec.deadline_us >= 0) deadlines_.Remove(request.spec.deadline_us, request.spec.id);
  } else if (!was_held && !faults_.strand_siblings) {
    // It led its siblings and published nothing: the next one leads.
    Unhold(request, /*all=*/false);
  }
  if (s.in_flight > 0 && faults_.release_in_flight) {
    ForgetInFlight(s);
    s.in_flight = s.num_pending = 0;
  }
  if (s.in_flight == 0) {
    Reap(s);
    return;
  }
  if (faults_.skip_fence) kv_.Release(s.table);
  leaving_.push_back(&s);
}

void Scheduler::Emit(Sequence& s, const StepOutput* output, FinishReason reason) {
  SequenceOutput& event = outputs_.emplace_back();
  event.request = s.request->spec.id;
  event.choice = s.key.choice;
  event.finish = reason;
  if (output != nullptr) {
    event.token = output->token;
    event.logprob = output->logprob;
    event.first_top = output->first_top;
    event.num_top = output->num_top;
  }
  if (s.was_reported) return;
  s.was_reported = true;
  event.cached_tokens = s.cached_tokens;
  event.queue_us =
      s.was_scheduled ? s.queue_us : std::max<int64_t>(0, now_us_ - s.request->submitted_us);
}

// R1: blocks and slot leave together, with nothing in flight.
void Scheduler::LeaveRanks(Sequence& s) {
  if (s.slot == kNoSlot) return;
  kv_.Release(s.table);
  builder_.Release(s.slot);
  if (!faults_.leak_slot || ++num_fault_events_ % 5 != 0) free_slots_.push_back(s.slot);
  s.slot = kNoSlot;
  s.num_sent_blocks = 0;
}

void Scheduler::Reap(Sequence& s) {
  INFERD_CHECK(s.state == SequenceState::kFinished && s.in_flight == 0);
  LeaveRanks(s);
  s.state = SequenceState::kReaped;
  Request& request = *s.request;
  if (--request.unreaped_choices > 0) return;
  changes_.ended.push_back(request.spec.id);
  waiting_.Leave(request.account);
  requests_.erase(request.spec.id);
}

void Scheduler::ForgetInFlight(const Sequence& sequence) {
  for (Record& record : records_) {
    for (Sequence*& s : record.sequences) {
      if (s == &sequence) s = nullptr;
    }
  }
}

void Scheduler::Enqueue(Sequence& s) {
  s.state = SequenceState::kWaiting;
  waiting_.Insert(s);
}

void Scheduler::Unhold(Request& request, bool all) {
  while (request.next_held < request.spec.num_choices) {
    Sequence& s = request.choices[static_cast<size_t>(request.next_held++)];
    if (s.state != SequenceState::kHeld) continue;
    --num_held_;
    if (s.tokens.empty()) {
      const std::vector<TokenId>& first = request.choices[0].tokens;
      s.tokens.reserve(static_cast<size_t>(s.num_prompt) + 16);
      s.tokens.assign(first.begin(), first.begin() + s.num_prompt);
    }
    Enqueue(s);
    if (!all) return;
  }
}

void Scheduler::Dequeue(Request& request, bool scheduled) {
  if (!request.queued) return;
  request.queued = false;
  waiting_prompt_tokens_ -= request.prompt_tokens;
  changes_.dequeued.push_back({request.spec.id, scheduled});
  if (request.spec.queue_deadline_us >= 0) {
    queue_limits_.Remove(request.spec.queue_deadline_us, request.spec.id);
  }
}

void Scheduler::PublishUpTo(Sequence& s, int32_t num_computed) {
  kv_.Publish(s.tokens, num_computed, s.request->spec.cache_scope, s.table);
}

void Scheduler::Finish(RequestId id, FinishReason reason) {
  const auto place = requests_.find(id);
  if (place == requests_.end()) return;
  Request& request = *place->second;
  // The request is gone once its last live choice is reaped.
  int32_t live = request.live_choices;
  for (size_t i = 0; live > 0; ++i) {
    Sequence& s = request.choices[i];
    if (s.state >= SequenceState::kFinished) continue;
    --live;
    EndSequence(s, reason, nullptr);
  }
}

void Scheduler::FinishChoice(RequestId id, int32_t choice, FinishReason reason) {
  const auto place = requests_.find(id);
  if (place == requests_.end() || choice < 0 || choice >= place->second->spec.num_choices) return;
  Sequence& s = place->second->choices[static_cast<size_t>(choice)];
  if (s.state < SequenceState::kFinished) EndSequence(s, reason, nullptr);
}

void Scheduler::FinishAll(FinishReason reason) {
  std::vector<RequestId> ids;
  ids.reserve(requests_.size());
  for (const auto& [id, request] : requests_) ids.push_back(id);
  for (const RequestId id : ids) Finish(id, reason);
}

void Scheduler::Expire(int64_t now_us) {
  now_us_ = std::max(now_us_, now_us);
  RequestId id = 0;
  while (deadlines_.PopDue(now_us, id)) Finish(id, FinishReason::kDeadline);
  while (queue_limits_.PopDue(now_us, id)) Finish(id, FinishReason::kQueueTimeout);
}

void Scheduler::ClearChanges() {
  changes_.dequeued.clear();
  changes_.ended.clear();
}

}  // namespace inferd
