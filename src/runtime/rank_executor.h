#pragma once

#include <memory>
#include <thread>

#include "inferd/base/bounded_queue.h"
#include "inferd/runtime/rank.h"
#include "runtime/model_runner.h"

namespace inferd::runtime {

// Runs one ModelRunner on a thread of its own, fed through bounded queues. The
// engine thread calls it.
class RankExecutor final : public LocalExecutor {
 public:
  RankExecutor(std::unique_ptr<ModelRunner> runner, RankInfo info, int max_in_flight,
               std::shared_ptr<spdlog::logger> logger);
  ~RankExecutor() override;

  void Submit(std::shared_ptr<const BatchPlan> plan) override;
  StepResult Await() override;
  int max_in_flight() const override { return max_in_flight_; }
  const RankInfo& info() const override { return info_; }

 private:
  void Loop();  // the rank thread

  const RankInfo info_;
  const int max_in_flight_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::unique_ptr<ModelRunner> runner_;  // rank thread
  BoundedQueue<std::shared_ptr<const BatchPlan>> plans_;
  BoundedQueue<StepResult> results_;
  int in_flight_ = 0;  // engine thread
  StepResult last_;    // engine thread; with an error once the rank is dead
  std::thread thread_;
};

}  // namespace inferd::runtime
