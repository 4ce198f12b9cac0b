#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "inferd/base/hang_counter.h"
#include "inferd/runtime/process_executor.h"
#include "runtime/rank_group.h"
#include "runtime/restart_backoff.h"

namespace inferd::runtime {

// How long the other ranks may take to say why, once one has failed.
inline constexpr int64_t kLastWordsUs = 500'000;
// How often the supervisor looks at the step under way.
inline constexpr int kLookMs = 50;
// Whether a rank says no more than that another one is gone.
inline bool IsEcho(const Status& status) {
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kAborted;
}

// The engine thread calls it; a thread of its own, the supervisor, starts the ranks'
// processes, looks after them, and starts them again.
class ProcessExecutor final : public LocalExecutor {
 public:
  // Waits for the first start, whose failure `WaitForStart` tells.
  ProcessExecutor(ProcessExecutorOptions options, std::vector<RankInfo> infos, UniqueFd listener,
                  EntropySource& entropy, const Clock& clock,
                  std::shared_ptr<spdlog::logger> logger);
  ~ProcessExecutor() override;
  Status WaitForStart();

  void Submit(std::shared_ptr<const BatchPlan> plan) override;
  StepResult Await() override;
  int max_in_flight() const override { return options_.max_in_flight; }
  ExecutorState state() const override { return state_.load(std::memory_order_acquire); }
  bool Reset() override;
  bool LimitStep(int64_t limit_us) override;
  void SetWake(std::function<void()> wake) override;
  const RankInfo& info() const override { return infos_[answering_]; }
  std::span<const RankInfo> ranks() const override { return infos_; }

 private:
  // Engine thread.
  StepResult Collect();
  StatusOr<StepResult> ReceiveResult(size_t rank, int64_t patience_us);
  void GiveUp(const Status& why);

  // Supervisor (process_supervisor.cc).
  void Supervise();
  StatusOr<std::shared_ptr<RankGroup>> BringUp();
  Status AwaitAll(RankGroup& group, RankMessage kind, int64_t end_us);
  bool StartHangs(const RankGroup& group, int64_t end_us);
  Status WatchOver(RankGroup& group);
  bool StepHangs(const RankGroup& group);
  // False when it is time to stop.
  bool Sleep(int64_t us);
  void DrainWakes() const;
  void Wake() const;  // any thread: the supervisor has something to look at
  void SetStateLocked();

  const ProcessExecutorOptions options_;
  std::vector<RankInfo> infos_;  // the supervisor's until the first start is over, then read only
  size_t answering_ = 0;
  std::vector<RankFacts> facts_;
  const UniqueFd listener_;  // for ranks of other hosts
  EntropySource& entropy_;
  const Clock& clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  UniqueFd wake_fd_;

  // Engine thread.
  std::shared_ptr<RankGroup> group_;  // where plans are in flight
  int in_flight_ = 0;
  StepResult last_;  // with an error once the ranks are lost
  std::vector<std::byte> bytes_;

  // The step being awaited.
  std::atomic<int64_t> step_limit_us_{0};
  std::atomic<uint64_t> awaited_{0};  // grows at the begin and the end of each wait
  // Supervisor.
  uint64_t seen_awaited_ = 0;
  int64_t last_look_us_ = 0;
  HangCounter step_;
  int64_t stopped_us_ = 0;      // how long a rank has been stopped while it starts
  int64_t first_start_us_ = 0;  // how long it took; 0: not known yet
  uint64_t epoch_ = 0;
  RestartBackoff backoff_;

  std::atomic<ExecutorState> state_{ExecutorState::kRestarting};
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<RankGroup> ready_;  // guarded by mutex_, as all below
  uint64_t lost_epoch_ = 0;           // of the last ranks that were ready and are lost
  uint64_t acknowledged_epoch_ = 0;   // of the last of which the engine knows it
  bool failed_ = false;               // for good
  bool started_ = false;              // the first start is over
  Status start_status_;
  std::mutex wake_mutex_;
  std::function<void()> engine_wake_;  // guarded by wake_mutex_

  std::thread supervisor_;  // last
};

}  // namespace inferd::runtime
