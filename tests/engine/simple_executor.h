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
// length of its history. Tests can hold results back, let the executor fail, and let
// its ranks be lost and come back.
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
    may_answer_.wait(lock, [this] {
      return !held_ || allowed_ > 0 || !error_.ok() || state_ != ExecutorState::kReady;
    });
    if (held_ && allowed_ > 0) --allowed_;
    const std::shared_ptr<const BatchPlan> plan = plans_.front();
    StepResult result;
    result.step = plan->step;
    result.error = state_ == ExecutorState::kReady ? error_ : UnavailableError("lost");
    if (!result.error.ok()) return result;
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

  ExecutorState state() const override {
    std::lock_guard lock(mutex_);
    return state_;
  }
  bool Reset() override {
    std::lock_guard lock(mutex_);
    if (state_ != ExecutorState::kLost) return false;
    state_ = back_after_reset_ ? ExecutorState::kReady : ExecutorState::kRestarting;
    plans_.clear();
    slots_.clear();
    return true;
  }
  void SetWake(std::function<void()> wake) override {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }

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
  // The ranks are lost (kLost), and later are back (kReady) or not (kFailed).
  void SetState(ExecutorState state) {
    std::lock_guard lock(mutex_);
    state_ = state;
    may_answer_.notify_all();
    if (wake_) wake_();
  }
  // The ranks are back as soon as they are given up, and nobody is told.
  void BackAfterReset() {
    std::lock_guard lock(mutex_);
    back_after_reset_ = true;
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
  mutable std::mutex mutex_;
  ExecutorState state_ = ExecutorState::kReady;
  std::function<void()> wake_;
  std::condition_variable may_answer_, submitted_;
  std::deque<std::shared_ptr<const BatchPlan>> plans_;
  std::vector<Slot> slots_;
  int num_submitted_ = 0;
  bool held_ = false;
  int allowed_ = 0;
  bool back_after_reset_ = false;
  Status error_;
};

}  // namespace inferd::testing
