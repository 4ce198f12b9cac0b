#pragma once

#include <memory>

#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"

namespace inferd {

// Runs plans on the ranks. Used by the engine thread only.
class Executor {
 public:
  virtual ~Executor() = default;

  // Hands over the next plan; never waits. At most max_in_flight() plans may be
  // submitted and not yet awaited.
  virtual void Submit(std::shared_ptr<const BatchPlan> plan) = 0;

  // The result of the oldest plan not yet awaited; waits for it. A result whose
  // `error` is set is the last one: every later Await answers the same.
  virtual StepResult Await() = 0;

  virtual int max_in_flight() const = 0;
};

}  // namespace inferd
