#include "engine/engine_sums.h"

namespace inferd {
namespace {

// Of several: running if one is, dead if all are.
EngineState Together(EngineState a, EngineState b) {
  if (a == EngineState::kRunning || b == EngineState::kRunning) return EngineState::kRunning;
  return a == b ? a : EngineState::kRecovering;
}

// How long until the step counts as hung. One that is not watched never does.
int64_t SlackUs(const EngineStats& stats) {
  if (stats.step_limit_us <= 0) return INT64_MAX;
  return stats.step_limit_us - stats.step_waited_us;
}

}  // namespace

void AddStats(const EngineStats& other, EngineStats& sum) {
  const bool nearer = SlackUs(other) < SlackUs(sum) ||
                      (SlackUs(other) == SlackUs(sum) && other.step_waited_us > sum.step_waited_us);
  if (nearer) {
    sum.step_waited_us = other.step_waited_us;
    sum.step_limit_us = other.step_limit_us;
  }
  sum.state = Together(sum.state, other.state);
  sum.running += other.running;
  sum.waiting += other.waiting;
  sum.waiting_deferred += other.waiting_deferred;
  sum.waiting_prompt_tokens += other.waiting_prompt_tokens;
  sum.blocks_total += other.blocks_total;
  sum.blocks_used += other.blocks_used;
  sum.blocks_cached += other.blocks_cached;
  sum.live_requests += other.live_requests;
  sum.steps_prefill += other.steps_prefill;
  sum.steps_decode += other.steps_decode;
  sum.steps_mixed += other.steps_mixed;
  sum.prompt_tokens += other.prompt_tokens;
  sum.prompt_tokens_cached += other.prompt_tokens_cached;
  sum.generation_tokens += other.generation_tokens;
  sum.prefix_query_tokens += other.prefix_query_tokens;
  sum.prefix_hit_tokens += other.prefix_hit_tokens;
  sum.preemptions += other.preemptions;
  sum.corrupted += other.corrupted;
  sum.rank_losses += other.rank_losses;
  sum.sequences_resumed += other.sequences_resumed;
  sum.requests_submitted += other.requests_submitted;
  for (int reason = 0; reason < kNumFinishReasons; ++reason) {
    sum.choices_finished[reason] += other.choices_finished[reason];
  }
  sum.step_seconds_prefill.Add(other.step_seconds_prefill);
  sum.step_seconds_decode.Add(other.step_seconds_decode);
  sum.step_seconds_mixed.Add(other.step_seconds_mixed);
  sum.device_seconds_prefill.Add(other.device_seconds_prefill);
  sum.device_seconds_decode.Add(other.device_seconds_decode);
  sum.device_seconds_mixed.Add(other.device_seconds_mixed);
  sum.iteration_tokens.Add(other.iteration_tokens);
  sum.recovery_seconds.Add(other.recovery_seconds);
}

}  // namespace inferd
