#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sched/scheduler.h"

namespace inferd::testing {

inline SchedulerOptions SmallSchedulerOptions() {
  SchedulerOptions o;
  o.num_blocks = 17;
  o.block_size = 4;
  o.max_running = 4;
  o.max_batched_tokens = 8;
  o.max_model_len = 64;
  return o;
}

// A scheduler, and by hand what an engine and its ranks do. Each draw is 500 plus the
// length of the history.
class SchedulerDriver {
 public:
  explicit SchedulerDriver(const SchedulerOptions& options = SmallSchedulerOptions())
      : scheduler(options, HashKey{1, 2}) {}

  // A prompt of its own, unless `first_token` says otherwise.
  void Add(RequestId id, int32_t prompt_tokens, int32_t max_new, int32_t priority = 0,
           int32_t choices = 1, TokenId first_token = -1, TenantId tenant = 0) {
    RequestSpec spec;
    spec.id = id;
    spec.prompt.resize(static_cast<size_t>(prompt_tokens));
    std::iota(spec.prompt.begin(), spec.prompt.end(),
              first_token >= 0 ? first_token : static_cast<TokenId>(id * 1000));
    spec.stop.max_new_tokens = max_new;
    spec.priority = priority;
    spec.num_choices = choices;
    spec.tenant = tenant;
    scheduler.Add(std::move(spec), now_us);
  }

  // Null when there is nothing to plan.
  std::shared_ptr<const BatchPlan> Plan() {
    auto plan = scheduler.Schedule(now_us);
    if (plan != nullptr) in_flight.push_back(plan);
    ExpectSound();
    return plan;
  }
  static StepResult Answer(const BatchPlan& plan) {
    StepResult result;
    result.step = plan.step;
    for (const StepEntry& e : plan.entries) {
      if (e.sample == 0) continue;
      StepOutput& output = result.outputs.emplace_back();
      output.slot = e.slot;
      output.token = 500 + e.start + e.count;
    }
    return result;
  }
  void Commit() { Commit(Answer(*in_flight.front())); }
  void Commit(const StepResult& result) {
    const Status status = scheduler.Commit(result);
    ASSERT_TRUE(status.ok()) << status.ToString();
    in_flight.pop_front();
    ExpectSound();
  }
  std::shared_ptr<const BatchPlan> Step() {
    auto plan = Plan();
    if (plan != nullptr) Commit();
    return plan;
  }
  void ExpectSound() {
    const Status status = scheduler.CheckIntegrity();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // The end of a choice among the outputs so far.
  FinishReason EndOf(RequestId id, int32_t choice = 0) const {
    for (const SequenceOutput& o : scheduler.outputs()) {
      if (o.request == id && o.choice == choice && o.finish != FinishReason::kNone) {
        return o.finish;
      }
    }
    return FinishReason::kNone;
  }
  std::vector<TokenId> TextOf(RequestId id, int32_t choice = 0) const {
    std::vector<TokenId> text;
    for (const SequenceOutput& o : scheduler.outputs()) {
      if (o.request == id && o.choice == choice && o.token >= 0) text.push_back(o.token);
    }
    return text;
  }

  Scheduler scheduler;
  std::deque<std::shared_ptr<const BatchPlan>> in_flight;
  int64_t now_us = 0;
};

}  // namespace inferd::testing
