#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "inferd/exec/executor.h"

namespace inferd::testing {

// An executor without ranks: each draw is a function of the sequence's seed and the
// length of its history. Tests can hold results back and let the executor fail.
class SimpleExecutor final : public Executor {
 public:
  using DrawFunction = std::function<TokenId(uint64_t seed, int32_t length)>;

  explicit SimpleExecutor(int depth = 2, DrawFunction draw = nullptr)
      : depth_(depth), draw_(std::move(draw)) {
    if (!draw_) draw_ = [](uint64_t, int32_t length) { return 100 + length % 50; };
  }

  void Submit(std::shared_ptr<const BatchPlan> plan) override {
    std::lock_guard lock(mutex_);
    ++num_submitted_;
    plans_.push_back(std::move(plan));
    submitted_.notify_all();
  }

  StepResult Await() override {
    std::unique_lock lock(mutex_);
    may_answer_.wait(lock, [this] { return !held_ || allowed_ > 0 || !error_.ok(); });
    if (held_ && allowed_ > 0) --allowed_;
    const std::shared_ptr<const BatchPlan> plan = plans_.front();
    StepResult result;
    result.step = plan->step;
    result.error = error_;
    if (!error_.ok()) return result;
    plans_.pop_front();
    for (const AdmittedSequence& admitted : plan->admitted) {
      const auto slot = static_cast<size_t>(admitted.slot);
      if (slots_.size() <= slot) slots_.resize(slot + 1);
      slots_[slot] = {admitted.sampling.seed, admitted.sampling.logprobs};
    }
    for (const StepEntry& entry : plan->entries) {
      if (entry.sample == 0) continue;
      const Slot& slot = slots_[static_cast<size_t>(entry.slot)];
      StepOutput& output = result.outputs.emplace_back();
      output.slot = entry.slot;
      output.token = draw_(slot.seed, entry.start + entry.count);
      if (slot.logprobs < 0) continue;
      output.logprob = -0.5F;
      output.first_top = static_cast<int32_t>(result.top.size());
      output.num_top = slot.logprobs;
      for (int32_t i = 0; i < slot.logprobs; ++i) {
        result.top.push_back({output.token + i, -0.5F - static_cast<float>(i)});
      }
    }
    return result;
  }

  int max_in_flight() const override { return depth_; }

  // Any thread. While held, results come only as allowed.
  void Hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Allow(int num_results) {
    std::lock_guard lock(mutex_);
    allowed_ += num_results;
    may_answer_.notify_all();
  }
  void LetGo() {
    std::lock_guard lock(mutex_);
    held_ = false;
    may_answer_.notify_all();
  }
  void Fail(Status error) {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
    may_answer_.notify_all();
  }
  // Waits until that many plans came in all.
  void WaitForPlans(int num_plans) {
    std::unique_lock lock(mutex_);
    submitted_.wait(lock, [&] { return num_submitted_ >= num_plans; });
  }

 private:
  struct Slot {
    uint64_t seed = 0;
    int32_t logprobs = -1;
  };
  const int depth_;
  DrawFunction draw_;
  std::mutex mutex_;
  std::condition_variable may_answer_, submitted_;
  std::deque<std::shared_ptr<const BatchPlan>> plans_;
  std::vector<Slot> slots_;
  int num_submitted_ = 0;
  bool held_ = false;
  int allowed_ = 0;
  Status error_;
};

}  // namespace inferd::testing
