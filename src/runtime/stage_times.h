#pragma once

#include <vector>

#include "inferd/model/parallel.h"
#include "inferd/plan/step_result.h"

namespace inferd::runtime {

// Adds to `stage_us`, of all stages, what the rank's result says about its own: that of
// the first rank of a stage counts.
inline void AddStageTime(const RankPlace& place, const StepResult& result,
                         std::vector<int64_t>* stage_us) {
  if (place.tp_rank != 0 || result.stage_us.size() != static_cast<size_t>(place.shape.pp)) return;
  const auto stage = static_cast<size_t>(place.pp_rank);
  stage_us->resize(result.stage_us.size());
  (*stage_us)[stage] = result.stage_us[stage];
}

}  // namespace inferd::runtime
