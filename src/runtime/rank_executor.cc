#include "runtime/rank_executor.h"

#include <pthread.h>

#include <exception>
#include <optional>
#include <utility>

#include "spdlog/spdlog.h"

namespace inferd::runtime {

RankExecutor::RankExecutor(std::unique_ptr<ModelRunner> runner, RankInfo info, int max_in_flight,
                           std::shared_ptr<spdlog::logger> logger)
    : info_(std::move(info)),
      max_in_flight_(max_in_flight),
      logger_(std::move(logger)),
      runner_(std::move(runner)),
      plans_(static_cast<size_t>(max_in_flight)),
      results_(static_cast<size_t>(max_in_flight)),
      thread_([this] { Loop(); }) {}

RankExecutor::~RankExecutor() {
  // What is queued was given up with the executor.
  while (plans_.TryPop().has_value()) {
  }
  plans_.Close();
  thread_.join();
}

void RankExecutor::Submit(std::shared_ptr<const BatchPlan> plan) {
  if (!last_.error.ok()) return;
  INFERD_CHECK(in_flight_ < max_in_flight_);
  ++in_flight_;
  // There is room: the rank took a plan for every result awaited.
  INFERD_CHECK(plans_.TryPush(std::move(plan)));
}

StepResult RankExecutor::Await() {
  if (!last_.error.ok()) return last_;
  INFERD_CHECK(in_flight_ > 0);
  std::optional<StepResult> result = results_.Pop();
  INFERD_CHECK(result.has_value());
  --in_flight_;
  if (!result->error.ok()) last_ = *result;
  return std::move(*result);
}

void RankExecutor::Loop() {
  (void)pthread_setname_np(pthread_self(), "inferd-rank0");
  for (;;) {
    std::optional<std::shared_ptr<const BatchPlan>> plan = plans_.Pop();
    if (!plan.has_value()) return;
    StepResult result;
    try {
      result = runner_->Run(**plan);
    } catch (const std::exception&) {
      // The only exceptions here are the library's own, such as no memory.
      result = StepResult();
      result.step = (*plan)->step;
      result.error = InternalError("the rank ran out of memory");
    }
    const bool failed = !result.error.ok();
    if (failed && logger_ != nullptr) {
      logger_->error("rank: step {} failed: {}", result.step, result.error.ToString());
    }
    INFERD_CHECK(results_.TryPush(std::move(result)));
    if (failed) return;
  }
}

}  // namespace inferd::runtime
