#include <algorithm>
#include <string>

#include "inferd/plan/plan_checker.h"

namespace inferd {

std::string PlanSummary(const BatchPlan& plan, int max_entries) {
  const auto samples = std::count_if(plan.entries.begin(), plan.entries.end(),
                                     [](const StepEntry& e) { return e.sample != 0; });
  std::string line =
      "step " + std::to_string(plan.step) + ": -" + std::to_string(plan.released.size()) +
      " slots, +" + std::to_string(plan.admitted.size()) + " seqs (" +
      std::to_string(plan.tokens.size()) + " tokens), " + std::to_string(plan.entries.size()) +
      " entries, " + std::to_string(plan.NumTokens()) + " tokens, " + std::to_string(samples) +
      " samples, " + std::to_string(plan.new_blocks.size()) + " blocks |";
  int shown = 0;
  for (const StepEntry& e : plan.entries) {
    if (shown++ == max_entries) {
      line += " …";
      break;
    }
    line += " " + std::to_string(e.slot) + ":" + std::to_string(e.start) + "+" +
            std::to_string(e.count);
    if (e.sample != 0) line += "*";
    if (e.input_on_device != 0) line += "d";
  }
  return line;
}

}  // namespace inferd
