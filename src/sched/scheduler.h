#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"
#include "kv/kv_manager.h"
#include "sched/plan_builder.h"
#include "sched/sequence.h"
#include "sched/step_pace.h"
#include "sched/timer_queue.h"
#include "sched/waiting_queue.h"

namespace inferd {

// How priority and waiting weigh against each other. Each step of priority counts as
// `step_us` of waiting, but all of it as at most `limit_us`; so who waits is overtaken
// by nobody of the same tenant who arrives more than twice that later. With step_us == 0 priority
// is strict, and a low one may wait for ever.
struct PriorityAgeing {
  int64_t step_us = 10'000'000;
  int64_t limit_us = 60'000'000;
};

// The QueueKey::rank of a request: the time at which one of priority 0 would have to
// come for the same place in the queue, or the priority itself where that is strict.
int64_t RankOf(int32_t priority, int64_t submitted_us, const PriorityAgeing& ageing);

struct SchedulerOptions {
  int32_t num_blocks = 0;  // the padding block included
  int32_t block_size = 16;
  int32_t max_running = 64;
  int32_t max_batched_tokens = 512;
  int32_t max_model_len = 2048;
  // How long a step that goes on with answers may take for the prompts in it; 0: as
  // long as max_batched_tokens make it.
  int64_t mixed_step_us = 0;
  int32_t max_preemptions = 8;
  // For ranks in a pipeline, whose first stage does not see what the last one draws: above
  // 1 a sequence decodes only once the host knows its last token, and a step takes at most
  // this part of the sequences that decode, so that as many steps in flight share them
  // evenly. Prompts go on from step to step as ever.
  int32_t micro_batches = 1;
  PriorityAgeing ageing;
  bool prefix_caching = true;
  bool resume = true;           // see LoseRanks
  int32_t max_rank_losses = 3;  // likewise
};

// The longest history a sequence may reach: the context, or all the KV there is.
int32_t MaxSequenceLen(const SchedulerOptions& options);

struct SchedulerCounters {
  uint64_t prompt_tokens = 0;
  uint64_t prompt_tokens_cached = 0;
  uint64_t generation_tokens = 0;
  uint64_t prefix_query_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t preemptions = 0;
  uint64_t corrupted = 0;
  uint64_t sequences_resumed = 0;
  uint64_t choices_finished[kNumFinishReasons] = {};
};

enum class StepKind : uint8_t { kPrefill, kDecode, kMixed };

// What left the queue or ended since it was last taken; the inbox counts with it.
struct SchedulerChanges {
  struct Dequeued {
    RequestId id = 0;
    bool scheduled = false;  // else it ended before its turn
  };
  std::vector<Dequeued> dequeued;
  std::vector<RequestId> ended;  // all choices finished

  bool any() const { return !dequeued.empty() || !ended.empty(); }
};

// Decides what each step computes: a state machine without threads, clocks or
// tensors. Engine thread only. The order is Add/Finish…, Schedule, (the executor
// runs the plan), Commit; any number of plans may be in flight between the two.
//
// One budget of tokens per step goes first to running sequences that need their
// next token, then to running prompts, then to waiting ones: tenants get equal shares
// (WaitingQueue), and one tenant's go in order of rank (priority and age, see
// PriorityAgeing). The head of the queue is never skipped.
// Blocks for a whole history are reserved at admission.
// In a step with decodes, whose next tokens somebody waits for, prompts get only so
// many tokens that by the pace of recent steps it ends within mixed_step_us, or in
// twice the time that the decodes take alone if that is longer; some in any case.
// When a running sequence lacks a block, the last in order gives way:
//   R1 slot and blocks leave a sequence only when in_flight == 0.
//   R2 reaping never waits for a result when nothing is in flight.
//   R3 only a sequence with in_flight == 0 is preempted; if none qualifies the
//      last one is left out until it does, and nobody is admitted.
// The first in order can always go on, so work always ends.
class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, const HashKey& key, const FaultInjection& faults = {});
  ~Scheduler();

  // Takes a request that fits (see MaxSequenceLen) and whose id is not live.
  void Add(RequestSpec spec, int64_t submitted_us);
  // Ends a request or one of its choices; ended and unknown ones are ignored.
  void Finish(RequestId id, FinishReason reason);
  void FinishChoice(RequestId id, int32_t choice, FinishReason reason);
  void FinishAll(FinishReason reason);
  // Ends what is past its deadline or waited too long to be scheduled first.
  void Expire(int64_t now_us);

  // How long the step of the result committed last took on the ranks.
  void ObserveStep(int32_t tokens, int64_t us) { pace_.Observe(tokens, us); }
  // What recent steps let expect of one of `tokens`; 0 as long as nothing is known.
  double PredictStepUs(int32_t tokens) const { return pace_.Predict(tokens); }
  // The next plan; null when there is nothing to do before the next Commit or Add.
  std::shared_ptr<const BatchPlan> Schedule(int64_t now_us);
  // Takes in the result of the oldest plan in flight. Not OK: the result does not
  // answer that plan, or the ranks failed; nothing was taken in.
  Status Commit(const StepResult& result);
  // Forgets all plans in flight, as if they never answered. Every sequence must be
  // finished. For a dead executor.
  void AbandonInFlight();
  // The ranks are empty from now on. Plans in flight never answer; slots, blocks and
  // cached prefixes are gone; whoever ran waits again in its old place with the tokens
  // it has. It is no preemption. Ended are: without `resume`, those that ran and have
  // generated something, with kRanksLost; and with kPoison whoever was in flight at
  // `max_rank_losses` losses without a token of it in between. Before the last of
  // those it is computed alone, so that nobody is ended for another's fault.
  void LoseRanks();

  // Events since the last call of ClearOutputs.
  const std::vector<SequenceOutput>& outputs() const { return outputs_; }
  void ClearOutputs() { outputs_.clear(); }
  const SchedulerChanges& changes() const { return changes_; }
  void ClearChanges();

  int32_t num_in_flight() const { return static_cast<int32_t>(records_.size()); }
  // The oldest plan in flight, and how it counts. Only with num_in_flight() > 0.
  std::shared_ptr<const BatchPlan> OldestPlan() const { return records_.front().plan; }
  StepKind OldestKind() const { return records_.front().kind; }

  int32_t num_requests() const { return static_cast<int32_t>(requests_.size()); }
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()) + num_held_; }
  // Of those that wait, choices held back for a sibling to publish their common prompt.
  int32_t num_held() const { return num_held_; }
  int64_t waiting_prompt_tokens() const { return waiting_prompt_tokens_; }
  const KvManager& kv() const { return kv_; }
  const SchedulerCounters& counters() const { return counters_; }

  // Checks S1 to S5, the queues, the slots, and the census of all blocks.
  Status CheckIntegrity() const;

 private:
  friend class SchedulerPeer;  // tests break fields through it

  // A plan in flight and whom its entries mean.
  struct Record {
    std::shared_ptr<const BatchPlan> plan;
    std::vector<Sequence*> sequences;  // by entry
    StepKind kind = StepKind::kDecode;
  };

  // scheduler.cc: making plans.
  void ScheduleDecodes();
  int32_t DecodesPerStep() const;
  void LimitPrompts();
  void SchedulePrefills();
  void AdmitWaiting(int64_t now_us);
  bool TryAdmit(Sequence& sequence, int64_t now_us);
  void GiveEntry(Sequence& sequence, int32_t count);
  bool GetBlock(size_t index);
  bool MakeRoomBehind(size_t index);
  void Preempt(size_t index);
  void FailWhatCannotRun();
  bool IsKnownBlocked(const Sequence& head) const;

  // scheduler_loss.cc: ranks that died.
  bool IsSuspect(const Sequence& s) const {
    return s.num_losses > 0 && s.num_losses >= options_.max_rank_losses - 1 &&
           !faults_.end_innocent;
  }
  bool ScheduleSuspect(int64_t now_us);

  // scheduler_commit.cc: taking results, ending sequences.
  Status CheckAnswers(const BatchPlan& plan, const StepResult& result) const;
  void TakeToken(Sequence& sequence, const StepEntry& entry, const StepOutput& output);
  // `last` carries the final token, or is null. The sequence may be gone afterwards.
  void EndSequence(Sequence& sequence, FinishReason reason, const StepOutput* last);
  void Emit(Sequence& sequence, const StepOutput* output, FinishReason reason);
  void LeaveRanks(Sequence& sequence);
  void Reap(Sequence& sequence);
  void ForgetInFlight(const Sequence& sequence);
  void Enqueue(Sequence& sequence);
  void Unhold(Request& request, bool all);
  void Dequeue(Request& request, bool scheduled);
  void PublishUpTo(Sequence& sequence, int32_t num_computed);

  int32_t Remaining(const Sequence& s) const { return s.NumKnown() - s.num_computed; }
  bool Decodes(const Sequence& s) const { return s.num_computed >= s.num_admitted && WantsMore(s); }
  // False once everything it may generate is drawn or being drawn.
  bool WantsMore(const Sequence& s) const {
    return s.NumGenerated() < s.request->spec.stop.max_new_tokens && s.NumKnown() < max_len_;
  }

  const SchedulerOptions options_;
  const int32_t max_len_;
  const FaultInjection faults_;
  KvManager kv_;
  PlanBuilder builder_;
  StepPace pace_;

  std::unordered_map<RequestId, std::unique_ptr<Request>> requests_;
  WaitingQueue waiting_;
  std::vector<Sequence*> running_;  // by key
  std::vector<Sequence*> leaving_;  // finished, still in flight
  std::vector<SlotId> free_slots_;
  TimerQueue deadlines_;
  TimerQueue queue_limits_;
  uint64_t next_arrival_ = 1;
  int64_t now_us_ = 0;  // as last told
  int32_t num_held_ = 0;
  int64_t waiting_prompt_tokens_ = 0;

  // Of the step under construction.
  uint64_t round_ = 0;  // calls of Schedule; not all of them give a plan
  int32_t budget_ = 0;
  bool may_admit_ = true;
  std::vector<Sequence*> step_sequences_;
  bool step_has_prefill_ = false;
  bool step_has_decode_ = false;

  // Runs alone, because the ranks may die of it; null: nobody does.
  Sequence* solo_ = nullptr;

  // The head of the queue did not fit when this was so; no need to look again
  // until it changes.
  const Sequence* blocked_head_ = nullptr;
  int32_t blocked_free_ = 0;
  uint64_t blocked_published_ = 0;

  std::deque<Record> records_;  // in flight, oldest first

  std::vector<SequenceOutput> outputs_;
  SchedulerChanges changes_;
  SchedulerCounters counters_;
  uint32_t num_fault_events_ = 0;
};

}  // namespace inferd
