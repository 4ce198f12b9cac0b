#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "engine/inbox.h"
#include "engine/output_router.h"
#include "inferd/base/clock.h"
#include "inferd/base/hash.h"
#include "inferd/base/snapshot_cell.h"
#include "inferd/engine/engine.h"
#include "inferd/exec/executor.h"
#include "sched/scheduler.h"

namespace inferd {

// The engine without its thread: one turn of the loop at a time. Engine thread only,
// except Stats().
class EngineCore {
 public:
  EngineCore(const EngineOptions& options, Executor& executor, OutputSink& sink, const Clock& clock,
             const HashKey& key, std::shared_ptr<spdlog::logger> logger,
             const FaultInjection& faults = {});

  Inbox& inbox() { return inbox_; }
  // Nothing to do until something comes in.
  bool idle() const { return scheduler_.num_requests() == 0; }
  bool dead() const { return stats_.state == EngineState::kDead; }
  bool recovering() const { return stats_.state == EngineState::kRecovering; }
  // Before the next turn.
  Inbox::Wait WhatToWaitFor() const;

  // Takes in what the inbox gave.
  void Handle(InboxBatch& batch);
  // Plans and submits a step if there is room for one in flight, and takes in the
  // oldest result if there is none or nothing to plan. While the ranks come back: ends
  // what is to end, and waits for nothing.
  void Turn();
  // Ends every live choice with kCancelled and waits for what is in flight.
  void Stop();

  // Any thread.
  EngineStats Stats() const;

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void TakeResult();
  // The ranks may have been lost, or be back.
  void LookAfterRanks();
  // What was in flight is given up; sequences wait until the executor is back.
  void LoseRanks(const Status& why);
  // What step_limit_us says of a step of that many tokens.
  int64_t StepLimitUs(int32_t num_tokens) const;
  void Measure(const BatchPlan& plan, StepKind kind, const StepResult& result);
  void Die(const Status& why);
  void MaybeCheckIntegrity();
  // Tells everyone: the inbox's counts, the statistics, then the events.
  void Announce(std::span<const TokenLogprob> top);

  const EngineOptions options_;
  const int depth_;
  Executor& executor_;
  const Clock& clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  Inbox inbox_;
  Scheduler scheduler_;
  OutputRouter router_;

  std::shared_ptr<const BatchPlan> last_plan_;
  std::deque<int64_t> submit_times_us_;  // of the plans in flight
  int64_t last_result_us_ = 0;
  int64_t last_check_us_ = 0;
  double tokens_per_second_ = 0;    // smoothed
  uint64_t steps_since_start_ = 0;  // of the ranks
  int64_t lost_at_us_ = 0;
  int64_t last_recovery_us_ = 0;  // how long it took
  EngineStats stats_;
  SnapshotCell<EngineStats> stats_cell_;
  // Of the step that is waited for; written around Await, so not part of the cell.
  std::atomic<int64_t> awaiting_since_us_{-1};
  std::atomic<int64_t> awaiting_limit_us_{0};
};

}  // namespace inferd
