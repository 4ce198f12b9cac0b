// The engine's face to the front end: submit, cancel, and a stream of token
// events. Behind it one thread owns the scheduler and every sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/histogram.h"
#include "inferd/base/ids.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/exec/executor.h"
#include "inferd/plan/finish_reason.h"
#include "inferd/plan/request_spec.h"
#include "inferd/plan/step_result.h"
#include "spdlog/logger.h"

namespace inferd {

// One token of one choice, or its end, or both. Per choice: zero or more token
// events, then exactly one with `finish != kNone` (which may carry a token).
struct TokenEvent {
  RequestId request = 0;
  int32_t choice = 0;
  TokenId token = -1;  // -1: no token in this event
  float logprob = 0;
  std::vector<TokenLogprob> top;  // when asked for; likeliest first
  FinishReason finish = FinishReason::kNone;
  // Set on a choice's first event: facts about its prompt.
  int32_t cached_tokens = 0;  // prompt tokens served from the prefix cache
  int64_t queue_us = 0;       // from Submit to first being scheduled
};

// Receives the events of each step, in order. Called on the engine thread (that of each
// replica, where there are several): must not wait, and hands over by moving.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void Post(std::vector<TokenEvent>&& events) = 0;
};

// How much may wait.
struct QueueLimits {
  int32_t max_requests = 1024;
  int64_t max_tokens = 1 << 20;  // of their prompts
  int64_t max_time_us = -1;      // waiting longer is refused; -1: no limit
  // The most of both that one tenant may hold if nobody else waits; beside others, the same
  // part of what they leave. 1: everything. Not for tenant 0, who has no name.
  double tenant_share = 0.5;
};

inline constexpr int32_t kMaxPipelineStages = 32;

struct EngineOptions {
  int32_t num_blocks = 0;            // KV blocks, the padding block included
  int32_t block_size = 16;           // tokens per block
  int32_t max_running = 64;          // sequences on the ranks; also the number of slots
  int32_t max_batched_tokens = 512;  // budget of one step
  int32_t max_model_len = 2048;      // tokens of prompt and answer
  // A step that decodes takes in prompts only as far as it ends within this, or
  // within twice what the decodes alone take. 0: as far as the budget goes.
  int64_t mixed_step_us = 200'000;
  QueueLimits queue;
  int32_t max_preemptions = 8;  // per sequence; then it is finished with kPreempted
  // One step of priority counts as `priority_step_us` of waiting, all of it as at most
  // `priority_limit_us`. Step 0: strict priority.
  int64_t priority_step_us = 10'000'000;
  int64_t priority_limit_us = 60'000'000;
  int depth = 2;  // plans in flight
  // Above 1, for ranks in a pipeline: steps in flight share the sequences that decode, and
  // a step decodes with tokens that the host knows (SchedulerOptions::micro_batches).
  int32_t micro_batches = 1;
  // Least time after which a step counts as hung (see EngineStats::step_limit_us);
  // 0: never.
  int64_t step_timeout_us = 5'000'000;
  bool prefix_caching = true;
  // When ranks are lost and come back: whether an answer that has begun goes on where
  // it was, or ends with kRanksLost. What has not begun starts again in any case.
  bool resume = true;
  // A sequence that was being computed at so many losses of the ranks, with no token
  // of it in between, is ended with kPoison.
  int32_t max_rank_losses = 3;
};

// INVALID_ARGUMENT naming the option that makes no sense.
Status ValidateEngineOptions(const EngineOptions& options);

enum class EngineState : uint8_t {
  kRunning,
  kRecovering,  // the ranks were lost and are being started again; Submit refuses
  kDead,        // for good
};

// A consistent picture of the engine, published after every step. Trivially
// copyable; counters only grow.
struct EngineStats {
  // Now.
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t waiting_deferred = 0;  // of these, for a sibling to publish their prompt
  int64_t waiting_prompt_tokens = 0;
  int32_t blocks_total = 0;   // without the padding block
  int32_t blocks_used = 0;    // referenced by a sequence
  int32_t blocks_cached = 0;  // free, but holding a reusable prefix
  int32_t live_requests = 0;
  EngineState state = EngineState::kRunning;
  bool dead() const { return state == EngineState::kDead; }
  // How long the engine has been waiting for the step under way, and from when on
  // something is wrong: ten times what steps of late let expect, at least
  // `step_timeout_us`. Both 0 when it is not waiting; the limit also when not watched.
  int64_t step_waited_us = 0;
  int64_t step_limit_us = 0;
  // Since start.
  uint64_t steps_prefill = 0;  // only prompt tokens
  uint64_t steps_decode = 0;   // only generated tokens
  uint64_t steps_mixed = 0;
  uint64_t prompt_tokens = 0;         // of admitted sequences
  uint64_t prompt_tokens_cached = 0;  // of these, served from the prefix cache
  uint64_t generation_tokens = 0;
  uint64_t prefix_query_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t preemptions = 0;
  uint64_t corrupted = 0;
  uint64_t rank_losses = 0;        // the ranks were lost and started again
  uint64_t sequences_resumed = 0;  // admitted again after a loss
  uint64_t requests_submitted = 0;
  uint64_t choices_finished[kNumFinishReasons] = {};  // by FinishReason
  Histogram step_seconds_prefill;
  Histogram step_seconds_decode;
  Histogram step_seconds_mixed;
  // Of these what the device of the rank that answers took, where there is one that tells.
  Histogram device_seconds_prefill;
  Histogram device_seconds_decode;
  Histogram device_seconds_mixed;
  Histogram iteration_tokens;
  // Of ranks in a pipeline: how long steps were in flight, and what of it each stage
  // computed. 0 stages without one.
  int32_t pipeline_stages = 0;
  uint64_t pipeline_us = 0;
  uint64_t stage_us[kMaxPipelineStages] = {};
  Histogram recovery_seconds;  // from a loss of the ranks until they take plans again
};

// Thread-safe except where said. Destruction stops the thread and ends every
// live choice with kCancelled.
class Engine {
 public:
  virtual ~Engine() = default;

  // Accepts the request or refuses it at once, with nothing changed:
  // RESOURCE_EXHAUSTED/QUEUE_FULL with retry information when the queue is full
  // in requests or tokens; DEADLINE_EXCEEDED/DEADLINE when its deadline passed or,
  // at the pace the queue has been moving lately, would pass before its turn;
  // INVALID_ARGUMENT when it cannot fit the context or the KV cache at all;
  // UNAVAILABLE/RANKS_RESTARTING with retry information while the ranks come back;
  // UNAVAILABLE/ENGINE_DEAD after a failure for good. Counted at admission, before any other
  // work.
  virtual Status Submit(RequestSpec spec) = 0;

  // Ends all choices of the request; unknown and finished ids are ignored. Its
  // blocks are free one step later. Never waits.
  virtual void CancelRequest(RequestId id) = 0;
  // Ends one choice (a stop string was found).
  virtual void FinishChoice(RequestId id, int32_t choice) = 0;

  // Takes these for requests submitted from now on; what waits stays.
  virtual void SetQueueLimits(const QueueLimits& limits) = 0;

  // Latest published picture. Never waits for the engine thread.
  virtual EngineStats Stats() const = 0;
};

// Starts the engine thread. `executor`, `sink` and `clock` must outlive it; the
// options must be valid. A null `logger` logs nowhere.
std::unique_ptr<Engine> StartEngine(const EngineOptions& options, Executor& executor,
                                    OutputSink& sink, const Clock& clock, EntropySource& entropy,
                                    std::shared_ptr<spdlog::logger> logger);

}  // namespace inferd
