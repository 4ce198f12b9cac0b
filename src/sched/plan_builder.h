#pragma once

#include <cstdint>
#include <memory>

#include "inferd/plan/batch_plan.h"
#include "sched/sequence.h"

namespace inferd {

// Writes one plan after another as the difference to what the ranks know.
// Engine thread only.
class PlanBuilder {
 public:
  // A slot whose sequence left; told with the next plan that has entries.
  void Release(SlotId slot) { plan_->released.push_back(slot); }
  // The sequence starts on its slot with all the tokens it has.
  void Admit(const Sequence& sequence, uint64_t seed);
  // The sequence computes `count` tokens from num_computed on; sends the blocks the
  // ranks were not told yet.
  void AddEntry(Sequence& sequence, int32_t count, bool sample);

  // The ranks are empty: there is nothing to release.
  void Reset() { plan_ = std::make_shared<BatchPlan>(); }

  bool empty() const { return plan_->entries.empty(); }
  // The finished plan; the next one begins. Only when not empty().
  std::shared_ptr<const BatchPlan> Finish();

 private:
  StepId step_ = 1;
  std::shared_ptr<BatchPlan> plan_ = std::make_shared<BatchPlan>();
};

}  // namespace inferd
