// What the ranks answer: one per plan, in the order of the plans.
#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"

namespace inferd {

struct TokenLogprob {
  TokenId token = -1;
  float logprob = 0;
};

// One per entry with `sample` set, in entry order.
struct StepOutput {
  SlotId slot = kNoSlot;
  TokenId token = -1;
  float logprob = 0;      // valid when the sequence asked for logprobs
  int32_t first_top = 0;  // result.top[first_top, +num_top): likeliest first
  int32_t num_top = 0;
  bool corrupted = false;  // the logits were not finite; `token` means nothing
};

struct StepResult {
  StepId step = 0;
  std::vector<StepOutput> outputs;
  std::vector<TokenLogprob> top;
  // With several pipeline stages: how long each computed, in microseconds; of a stage
  // that the sender is not, 0.
  std::vector<int64_t> stage_us;
  int64_t device_us = -1;  // what the sender's device took; -1: not known
  Status error;            // not OK: the ranks' state is unknown, nothing else is valid
};

}  // namespace inferd
