#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "inferd/base/bounded_queue.h"
#include "inferd/runtime/rank.h"

namespace inferd::runtime {

// The groups of communicators that the ranks of one process use. Owns them.
class ThreadLinks {
 public:
  static StatusOr<ThreadLinks> Create(const ParallelShape& shape, const Clock& clock);

  const RankLinks& links(int world_rank) const { return links_[static_cast<size_t>(world_rank)]; }
  // Ends what the ranks are waiting for.
  void Abort();

 private:
  // One group of these world ranks, in this order, as the member of their links.
  Status Connect(const std::vector<int>& ranks, Communicator* RankLinks::*member,
                 const Clock& clock);

  std::vector<std::unique_ptr<Communicator>> ends_;
  std::vector<RankLinks> links_;  // by world rank
};

// Runs each rank on a thread of its own, fed through bounded queues. The engine thread
// calls it.
class ThreadExecutor final : public LocalExecutor {
 public:
  // `ranks` by world rank; they use `links`.
  ThreadExecutor(ThreadLinks links, std::vector<std::unique_ptr<Rank>> ranks, int max_in_flight,
                 std::shared_ptr<spdlog::logger> logger);
  ~ThreadExecutor() override;

  void Submit(std::shared_ptr<const BatchPlan> plan) override;
  StepResult Await() override;
  int max_in_flight() const override { return max_in_flight_; }
  const RankInfo& info() const override { return infos_[answering_]; }
  std::span<const RankInfo> ranks() const override { return infos_; }

 private:
  struct Worker {
    Worker(std::unique_ptr<Rank> rank_in, size_t capacity)
        : rank(std::move(rank_in)), plans(capacity), results(capacity) {}
    const std::unique_ptr<Rank> rank;  // its thread
    // With room for all plans in flight: every rank's results are awaited together.
    BoundedQueue<std::shared_ptr<const BatchPlan>> plans;
    BoundedQueue<StepResult> results;
    std::thread thread;
  };
  void Loop(Worker& worker);  // a rank's thread
  // The plan that the rank is to begin now; nothing when the oldest that has begun is to
  // be ended first, or none will come.
  static std::optional<std::shared_ptr<const BatchPlan>> NextPlan(Worker& worker, int under_way);

  ThreadLinks links_;  // outlives the ranks
  const int max_in_flight_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::vector<RankInfo> infos_;
  size_t answering_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;  // by world rank
  std::atomic<bool> stopping_{false};
  int in_flight_ = 0;  // engine thread
  StepResult last_;    // engine thread; with an error once a rank is dead
};

}  // namespace inferd::runtime
