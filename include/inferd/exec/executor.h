#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"

namespace inferd {

enum class ExecutorState : uint8_t {
  kReady,       // takes plans
  kLost,        // the ranks are gone: what is in flight is answered with an error; Reset comes next
  kRestarting,  // after Reset: will be kReady, or kFailed, without being asked
  kFailed,      // for good
};

// Runs plans on the ranks. Used by the engine thread only.
//
// Ranks may die. A result whose `error` is set is then the last one, and every later
// Await answers the same: no plan in flight will be answered, and nothing of what the
// ranks knew is left. An executor whose ranks can be started again takes plans once more
// after Reset, as soon as state() is kReady; it begins with empty ranks.
class Executor {
 public:
  virtual ~Executor() = default;

  // Hands over the next plan; never waits. At most max_in_flight() plans may be
  // submitted and not yet awaited. Only while nothing is known to be lost.
  virtual void Submit(std::shared_ptr<const BatchPlan> plan) = 0;

  // The result of the oldest plan not yet awaited; waits for it, or for the loss of
  // the ranks.
  virtual StepResult Await() = 0;

  virtual int max_in_flight() const = 0;

  // Ranks can also be lost while nothing is in flight. Never waits.
  virtual ExecutorState state() const { return ExecutorState::kReady; }
  // After an error: gives up every plan in flight. False when the ranks do not come
  // back. Never waits.
  virtual bool Reset() { return false; }

  // How long the step awaited next may take before it counts as hung, in microseconds;
  // 0: for ever. True when the executor ends such a step itself, with an error.
  virtual bool LimitStep(int64_t /*limit_us*/) { return false; }

  // `wake` is called, by any thread, whenever state() may have changed; it does not
  // wait. Empty: nobody is to be woken any more; returns when no call is under way.
  virtual void SetWake(std::function<void()> /*wake*/) {}
};

}  // namespace inferd
