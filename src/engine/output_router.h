#pragma once

#include <span>
#include <vector>

#include "inferd/engine/engine.h"
#include "inferd/plan/step_result.h"
#include "sched/sequence.h"

namespace inferd {

// Turns the scheduler's outputs into the front end's events. Engine thread only.
class OutputRouter {
 public:
  explicit OutputRouter(OutputSink& sink) : sink_(sink) {}

  // Posts `outputs`, if there are any, in one call. `top` is what their logprobs
  // point into.
  void Post(const std::vector<SequenceOutput>& outputs, std::span<const TokenLogprob> top);

 private:
  OutputSink& sink_;
};

}  // namespace inferd
