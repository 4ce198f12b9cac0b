// What the engine is asked to do: plain data, no text, no tensors.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/ids.h"

namespace inferd {

// How a token is drawn from the logits. Validated by the front end; every value
// here is in range. The order of application is that of the sampler contract
// (inferd/ops/sampling.h).
struct SamplingParams {
  float temperature = 1.0F;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0F;        // (0, 1]
  float min_p = 0.0F;        // [0, 1]
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  // Added to the logits; ids unique and below the vocabulary size.
  std::vector<std::pair<TokenId, float>> logit_bias;
  // Until `min_tokens` tokens are generated, the tokens in `banned_until_min`
  // (end and stop tokens) cannot be drawn.
  int32_t min_tokens = 0;
  std::vector<TokenId> banned_until_min;
  uint64_t seed = 0;  // always set; draws depend on (seed, position) alone
  // -1: no logprobs; k >= 0: the drawn token's, and those of the k likeliest.
  int32_t logprobs = -1;

  bool UsesPenalties() const {
    return repetition_penalty != 1.0F || presence_penalty != 0.0F || frequency_penalty != 0.0F;
  }
};

// When a sequence ends, as far as token ids tell. Stop strings are the front
// end's: it calls Engine::FinishChoice.
struct StopRules {
  int32_t max_new_tokens = 16;       // >= 1
  std::vector<TokenId> stop_tokens;  // end-of-sequence (unless ignored) and stop ids
};

using TenantId = uint64_t;  // given by the front end; 0: nobody in particular

// One accepted request. Immutable after Submit.
struct RequestSpec {
  RequestId id = 0;
  std::vector<TokenId> prompt;  // at least one token
  int32_t num_choices = 1;      // `n`; choice i samples with ChoiceSeed(seed, i)
  SamplingParams sampling;
  StopRules stop;
  int32_t priority = 0;      // lower runs first; who waits catches up (EngineOptions)
  int64_t deadline_us = -1;  // Clock::NowUs; -1: none
  // What there is at the deadline is of use: never refused because of it.
  bool deadline_is_soft = false;
  // By when it must be scheduled first, or be refused; -1: no limit. The engine's to set.
  int64_t queue_deadline_us = -1;
  TenantId tenant = 0;  // tenants with enough to do get equal shares (sched/waiting_queue.h)
  Hash128 cache_scope;  // prefix blocks are shared only within equal scopes
};

// The seed of choice `index`; choice 0 uses the request's own.
uint64_t ChoiceSeed(uint64_t seed, int32_t index);

}  // namespace inferd
