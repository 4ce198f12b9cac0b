#include "engine/engine_core.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "inferd/plan/plan_checker.h"

namespace inferd {
namespace {

constexpr std::array kStepSecondsBounds = {1e-4, 2.5e-4, 5e-4,   1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
                                           5e-2, 1e-1,   2.5e-1, 5e-1, 1.0,    2.5,  5.0,  10.0};
constexpr std::array kIterationTokensBounds = {1.0,   2.0,   4.0,   8.0,    16.0,   32.0,   64.0,
                                               128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0};
constexpr std::array kRecoverySecondsBounds = {0.05, 0.1, 0.25, 0.5,  1.0,   2.5,
                                               5.0,  10., 30.0, 60.0, 120.0, 300.0};
// What a refused client is told to wait at least, while the ranks come back.
constexpr int64_t kLeastRetryMs = 1'000;
constexpr int64_t kMostRetryMs = 30'000;
#ifdef NDEBUG
constexpr bool kCheckEveryTurn = false;
#else
constexpr bool kCheckEveryTurn = true;
#endif
// Otherwise bookkeeping is checked when the engine falls idle, but not more often
// than this.
constexpr int64_t kCheckIntervalUs = 1'000'000;
// The first steps may have to wait for weights that are not in memory yet.
constexpr uint64_t kFirstSteps = 8;  // since the ranks were started
constexpr int64_t kFirstStepsFactor = 6;
// A step is hung when it takes this many times as long as expected.
constexpr double kHungFactor = 10;

SchedulerOptions ToSchedulerOptions(const EngineOptions& o) {
  SchedulerOptions s;
  s.num_blocks = o.num_blocks;
  s.block_size = o.block_size;
  s.max_running = o.max_running;
  s.max_batched_tokens = o.max_batched_tokens;
  s.max_model_len = o.max_model_len;
  s.mixed_step_us = o.mixed_step_us;
  s.max_preemptions = o.max_preemptions;
  s.micro_batches = o.micro_batches;
  s.ageing = {o.priority_step_us, o.priority_limit_us};
  s.prefix_caching = o.prefix_caching;
  s.resume = o.resume;
  s.max_rank_losses = o.max_rank_losses;
  return s;
}

}  // namespace

EngineCore::EngineCore(const EngineOptions& options, Executor& executor, OutputSink& sink,
                       const Clock& clock, const HashKey& key,
                       std::shared_ptr<spdlog::logger> logger, const FaultInjection& faults)
    : options_(options),
      depth_(std::max(1, std::min(options.depth, executor.max_in_flight()))),
      executor_(executor),
      clock_(clock),
      logger_(logger != nullptr ? std::move(logger) : std::make_shared<spdlog::logger>("engine")),
      inbox_(options, MaxSequenceLen(ToSchedulerOptions(options)), clock),
      scheduler_(ToSchedulerOptions(options), key, faults),
      router_(sink) {
  stats_.blocks_total = scheduler_.kv().capacity();
  stats_.step_seconds_prefill = Histogram(kStepSecondsBounds);
  stats_.step_seconds_decode = Histogram(kStepSecondsBounds);
  stats_.step_seconds_mixed = Histogram(kStepSecondsBounds);
  stats_.device_seconds_prefill = Histogram(kStepSecondsBounds);
  stats_.device_seconds_decode = Histogram(kStepSecondsBounds);
  stats_.device_seconds_mixed = Histogram(kStepSecondsBounds);
  stats_.iteration_tokens = Histogram(kIterationTokensBounds);
  stats_.recovery_seconds = Histogram(kRecoverySecondsBounds);
  stats_cell_.Write(stats_);
}

void EngineCore::Handle(InboxBatch& batch) {
  for (InboxBatch::Submission& submission : batch.submissions) {
    scheduler_.Add(std::move(submission.spec), submission.submitted_us);
  }
  for (const RequestId id : batch.cancelled) scheduler_.Finish(id, FinishReason::kCancelled);
  for (const auto& [id, choice] : batch.finished_choices) {
    scheduler_.FinishChoice(id, choice, FinishReason::kCancelled);
  }
}

void EngineCore::Turn() {
  const int64_t now_us = clock_.NowUs();
  scheduler_.Expire(now_us);
  LookAfterRanks();
  if (dead()) scheduler_.FinishAll(FinishReason::kEngineDead);
  std::shared_ptr<const BatchPlan> plan;
  const bool has_room = !recovering() && scheduler_.num_in_flight() < depth_;
  if (has_room && (plan = scheduler_.Schedule(now_us)) != nullptr) {
    if (logger_->should_log(spdlog::level::trace)) logger_->trace("{}", PlanSummary(*plan));
    last_plan_ = plan;
    submit_times_us_.push_back(now_us);
    executor_.Submit(plan);
  }
  if (scheduler_.num_in_flight() > 0 && (scheduler_.num_in_flight() == depth_ || !plan)) {
    // Ends, and places in the queue, are not kept waiting for the ranks.
    if (!scheduler_.outputs().empty() || scheduler_.changes().any()) Announce({});
    TakeResult();
  } else {
    Announce({});
  }
  MaybeCheckIntegrity();
}

void EngineCore::TakeResult() {
  const std::shared_ptr<const BatchPlan> plan = scheduler_.OldestPlan();
  const int64_t limit_us = StepLimitUs(plan->NumTokens());
  const bool ends_hung_steps = executor_.LimitStep(limit_us);
  awaiting_limit_us_.store(ends_hung_steps ? 0 : limit_us, std::memory_order_relaxed);
  awaiting_since_us_.store(clock_.NowUs(), std::memory_order_release);
  const StepResult result = executor_.Await();
  awaiting_since_us_.store(-1, std::memory_order_release);
  const StepKind kind = scheduler_.OldestKind();
  if (const Status status = scheduler_.Commit(result); !status.ok()) {
    LoseRanks(status);
    return;
  }
  ++steps_since_start_;
  Measure(*plan, kind, result);
  Announce(result.top);
}

int64_t EngineCore::StepLimitUs(int32_t num_tokens) const {
  if (options_.step_timeout_us == 0) return 0;
  int64_t limit_us = options_.step_timeout_us;
  if (steps_since_start_ < kFirstSteps) limit_us *= kFirstStepsFactor;
  const double expected_us = scheduler_.PredictStepUs(num_tokens);
  return std::max(limit_us, static_cast<int64_t>(std::min(kHungFactor * expected_us, 1e15)));
}

void EngineCore::Measure(const BatchPlan& plan, StepKind kind, const StepResult& result) {
  const std::span<const int64_t> stage_us = result.stage_us;
  // With several plans in flight a step begins when the one before it ended.
  const int64_t now_us = clock_.NowUs();
  const int64_t began_us = std::max(submit_times_us_.front(), last_result_us_);
  submit_times_us_.pop_front();
  last_result_us_ = now_us;
  const int64_t step_us = std::max<int64_t>(1, now_us - began_us);
  scheduler_.ObserveStep(plan.NumTokens(), step_us);
  const size_t stages = std::min<size_t>(stage_us.size(), kMaxPipelineStages);
  stats_.pipeline_stages = static_cast<int32_t>(stages);
  if (stages > 0) stats_.pipeline_us += static_cast<uint64_t>(step_us);
  for (size_t s = 0; s < stages; ++s) {
    stats_.stage_us[s] += static_cast<uint64_t>(std::max<int64_t>(0, stage_us[s]));
  }
  const double seconds = static_cast<double>(step_us) * 1e-6;
  const double num_tokens = plan.NumTokens();
  constexpr double kWeight = 0.1;
  tokens_per_second_ += kWeight * (num_tokens / seconds - tokens_per_second_);
  stats_.iteration_tokens.Observe(num_tokens);
  const auto observe = [&](uint64_t* steps, Histogram* took, Histogram* device_took) {
    ++*steps;
    took->Observe(seconds);
    if (result.device_us >= 0) device_took->Observe(static_cast<double>(result.device_us) * 1e-6);
  };
  switch (kind) {
    case StepKind::kPrefill:
      observe(&stats_.steps_prefill, &stats_.step_seconds_prefill, &stats_.device_seconds_prefill);
      break;
    case StepKind::kDecode:
      observe(&stats_.steps_decode, &stats_.step_seconds_decode, &stats_.device_seconds_decode);
      break;
    case StepKind::kMixed:
      observe(&stats_.steps_mixed, &stats_.step_seconds_mixed, &stats_.device_seconds_mixed);
      break;
  }
}

void EngineCore::Die(const Status& why) {
  logger_->error("the engine has failed: {}; last plan: {}", why.ToString(),
                 last_plan_ != nullptr ? PlanSummary(*last_plan_, 64) : "none");
  stats_.state = EngineState::kDead;
  inbox_.SetState(EngineState::kDead);
  scheduler_.FinishAll(FinishReason::kEngineDead);
  scheduler_.AbandonInFlight();
  submit_times_us_.clear();
  Announce({});
}

void EngineCore::LookAfterRanks() {
  if (dead()) return;
  const ExecutorState state = executor_.state();
  if (!recovering()) {
    if (state != ExecutorState::kReady) LoseRanks(UnavailableError("the ranks were lost"));
    return;
  }
  if (state == ExecutorState::kLost) {
    ++stats_.rank_losses;  // as soon as they were back
    if (!executor_.Reset()) Die(UnavailableError("the ranks were lost again"));
  } else if (state == ExecutorState::kFailed) {
    Die(UnavailableError("the ranks do not come back"));
  } else if (state == ExecutorState::kReady) {
    last_recovery_us_ = clock_.NowUs() - lost_at_us_;
    stats_.recovery_seconds.Observe(static_cast<double>(last_recovery_us_) * 1e-6);
    stats_.state = EngineState::kRunning;
    inbox_.SetState(EngineState::kRunning);
    logger_->info("the ranks are back after {:.3f} s; {} sequences go on",
                  static_cast<double>(last_recovery_us_) * 1e-6, scheduler_.num_waiting());
  }
}

void EngineCore::LoseRanks(const Status& why) {
  if (!executor_.Reset()) {
    Die(why);
    return;
  }
  logger_->error("the ranks are lost: {}; {} sequences were running; last plan: {}", why.ToString(),
                 scheduler_.num_running(),
                 last_plan_ != nullptr ? PlanSummary(*last_plan_) : "none");
  ++stats_.rank_losses;
  stats_.state = EngineState::kRecovering;
  lost_at_us_ = clock_.NowUs();
  inbox_.SetState(EngineState::kRecovering,
                  std::clamp(last_recovery_us_ / 1000, kLeastRetryMs, kMostRetryMs));
  scheduler_.LoseRanks();
  submit_times_us_.clear();
  steps_since_start_ = 0;
  Announce({});
}

Inbox::Wait EngineCore::WhatToWaitFor() const {
  // Ranks come back without a word, where they were back before their loss was noticed.
  if (recovering()) return Inbox::Wait::kBriefly;
  return idle() ? Inbox::Wait::kUntilSomething : Inbox::Wait::kNone;
}

void EngineCore::MaybeCheckIntegrity() {
  if (dead()) return;
  if (!kCheckEveryTurn) {
    const int64_t now_us = clock_.NowUs();
    if (!idle() || now_us - last_check_us_ < kCheckIntervalUs) return;
    last_check_us_ = now_us;
  }
  if (const Status status = scheduler_.CheckIntegrity(); !status.ok()) Die(status);
}

void EngineCore::Announce(std::span<const TokenLogprob> top) {
  const bool backlog = scheduler_.num_waiting() > scheduler_.num_held();
  inbox_.Settle(scheduler_.changes(), backlog, tokens_per_second_);
  scheduler_.ClearChanges();

  const SchedulerCounters& c = scheduler_.counters();
  stats_.running = scheduler_.num_running();
  stats_.waiting = scheduler_.num_waiting();
  stats_.waiting_deferred = scheduler_.num_held();
  stats_.waiting_prompt_tokens = scheduler_.waiting_prompt_tokens();
  stats_.blocks_used = scheduler_.kv().num_used();
  stats_.blocks_cached = scheduler_.kv().num_cached();
  stats_.prompt_tokens = c.prompt_tokens;
  stats_.prompt_tokens_cached = c.prompt_tokens_cached;
  stats_.generation_tokens = c.generation_tokens;
  stats_.prefix_query_tokens = c.prefix_query_tokens;
  stats_.prefix_hit_tokens = c.prefix_hit_tokens;
  stats_.preemptions = c.preemptions;
  stats_.corrupted = c.corrupted;
  stats_.sequences_resumed = c.sequences_resumed;
  std::copy(std::begin(c.choices_finished), std::end(c.choices_finished),
            std::begin(stats_.choices_finished));
  stats_cell_.Write(stats_);

  router_.Post(scheduler_.outputs(), top);
  scheduler_.ClearOutputs();
}

EngineStats EngineCore::Stats() const {
  EngineStats stats = stats_cell_.Read();
  const Inbox::Counts counts = inbox_.counts();
  stats.requests_submitted = counts.accepted;
  stats.live_requests = counts.live;
  const int64_t since_us = awaiting_since_us_.load(std::memory_order_acquire);
  if (since_us >= 0) {
    stats.step_waited_us = std::max<int64_t>(0, clock_.NowUs() - since_us);
    stats.step_limit_us = awaiting_limit_us_.load(std::memory_order_relaxed);
  }
  return stats;
}

void EngineCore::Stop() {
  scheduler_.FinishAll(dead() ? FinishReason::kEngineDead : FinishReason::kCancelled);
  Announce({});
  while (scheduler_.num_in_flight() > 0) TakeResult();
  Announce({});
  if (dead()) return;
  if (const Status status = scheduler_.CheckIntegrity(); !status.ok()) {
    logger_->error("at the end: {}", status.ToString());
  }
}

}  // namespace inferd
