#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/queue_pace.h"
#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/engine/engine.h"
#include "inferd/plan/request_spec.h"
#include "sched/scheduler.h"

namespace inferd {

// More choices of one request than this are refused.
inline constexpr int32_t kMaxChoices = 64;

// What came in since the last drain.
struct InboxBatch {
  struct Submission {
    RequestSpec spec;
    int64_t submitted_us = 0;
  };
  std::vector<Submission> submissions;
  std::vector<RequestId> cancelled;
  std::vector<std::pair<RequestId, int32_t>> finished_choices;

  void Clear() {
    submissions.clear();
    cancelled.clear();
    finished_choices.clear();
  }
};

// The way from the front end's threads to the engine thread. Admission control
// lives here: a request is counted, or refused, under the one short lock. Bounded:
// submissions by the queue limits, cancels by the live requests (each is remembered
// once; ids that are not live are dropped at the door).
class Inbox {
 public:
  // `max_len`: see MaxSequenceLen. `clock` must outlive the inbox.
  Inbox(const EngineOptions& options, int32_t max_len, const Clock& clock);

  // Any thread. As Engine::Submit, CancelRequest and FinishChoice.
  Status Submit(RequestSpec spec);
  void Cancel(RequestId id);
  void FinishChoice(RequestId id, int32_t choice);
  void SetLimits(const QueueLimits& limits);
  // Any thread. Requests accepted since the start, and those of them not yet ended;
  // unlike the engine thread's own counts these include what it has not seen yet.
  struct Counts {
    uint64_t accepted = 0;
    int32_t live = 0;
  };
  Counts counts() const;
  // Any thread: no more submissions; wakes the engine thread, whose Drain says so.
  void Stop();

  // Any thread: ends the wait of Drain.
  void Wake();

  enum class Wait : uint8_t {
    kNone,
    kBriefly,         // for something to come in, or some milliseconds
    kUntilSomething,  // for something to come in, or a Wake
  };
  // Engine thread. Moves what came in to `batch`. False once stopped; `batch` is filled
  // all the same.
  bool Drain(Wait wait, InboxBatch& batch);
  // Engine thread. Requests that left the queue and those that ended; whether the last
  // plan left somebody waiting; how many tokens the engine computes per second of late.
  void Settle(const SchedulerChanges& changes, bool backlog, double tokens_per_second);
  // Engine thread. From now on Submit takes requests (kRunning), or answers
  // UNAVAILABLE: RANKS_RESTARTING with `retry_after_ms`, or ENGINE_DEAD.
  void SetState(EngineState state, int64_t retry_after_ms = -1);

 private:
  // A live request, and what was asked of it already.
  struct Live {
    int64_t rank = 0;  // its place in its tenant's queue, see RankOf
    TenantId tenant = 0;
    int64_t prompt_tokens = 0;
    bool cancelled = false;
    uint64_t finished_choices = 0;  // bit per choice
  };

  Status CheckSpec(const RequestSpec& spec) const;
  Status CheckStateLocked() const;
  // One tenant's part of the queue. There is one only where somebody waits.
  struct TenantQueue {
    int32_t requests = 0;
    int64_t tokens = 0;
    std::map<int64_t, int32_t> by_rank;
  };

  Status CheckQueueLocked(TenantId tenant, int64_t prompt_tokens) const;
  Status CheckDeadlineLocked(const RequestSpec& spec, int64_t rank, int64_t now_us) const;
  const TenantQueue* FindQueueLocked(TenantId tenant) const;

  const int32_t max_len_;
  const PriorityAgeing ageing_;
  const Clock& clock_;

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable not_empty_;
  QueueLimits limits_;
  InboxBatch batch_;
  std::unordered_map<RequestId, Live> live_;
  uint64_t accepted_ = 0;
  int32_t queued_requests_ = 0;  // accepted, no choice ever scheduled
  int64_t queued_tokens_ = 0;    // their prompts
  std::unordered_map<TenantId, TenantQueue> queues_;
  QueuePace pace_;
  bool backlog_ = false;  // the last plan left somebody waiting
  double tokens_per_second_ = 0;
  bool stopped_ = false;
  bool woken_ = false;
  EngineState state_ = EngineState::kRunning;
  int64_t retry_after_ms_ = -1;
};

}  // namespace inferd
