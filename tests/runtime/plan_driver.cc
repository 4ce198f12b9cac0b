#include "plan_driver.h"

#include <algorithm>

#include "inferd/base/check.h"

namespace inferd::testing {

PlanDriver::PlanDriver(Executor& executor, int32_t num_slots, int32_t block_size,
                       int32_t num_blocks)
    : executor_(executor),
      num_slots_(num_slots),
      block_size_(block_size),
      num_blocks_(num_blocks) {}

std::shared_ptr<BatchPlan> PlanDriver::Next(const std::vector<DrivenPrompt>& prompts,
                                            int32_t budget) {
  auto plan = std::make_shared<BatchPlan>();
  plan->step = step_ + 1;
  plan->released.swap(to_release_);
  for (size_t i = 0; i < prompts.size() && budget > 0; ++i) {
    const DrivenPrompt& p = prompts[i];
    Running& r = running_[i];
    if (r.sampled == p.max_new) continue;
    const bool is_known = static_cast<int32_t>(results_[i].tokens.size()) == r.sampled;
    if (carry_tokens && (!is_known || plan->entries.size() == max_entries)) continue;
    if (!r.admitted) {
      r.admitted = true;
      AdmittedSequence sequence;
      sequence.slot = r.slot;
      sequence.first_token = static_cast<int32_t>(plan->tokens.size());
      sequence.num_tokens = static_cast<int32_t>(p.prompt.size());
      sequence.num_prompt = sequence.num_tokens;
      sequence.sampling = p.sampling;
      plan->admitted.push_back(sequence);
      plan->tokens.insert(plan->tokens.end(), p.prompt.begin(), p.prompt.end());
      r.known = sequence.num_tokens;
      r.computed = static_cast<int32_t>(p.shared_blocks.size()) * block_size_;
      INFERD_CHECK(r.computed < r.known);
    }
    StepEntry entry;
    entry.slot = r.slot;
    entry.start = r.computed;
    entry.count = std::min(budget, r.known - r.computed);
    entry.first_new_block = static_cast<int32_t>(plan->new_blocks.size());
    std::vector<BlockId>& table = results_[i].table;
    if (table.empty() && !p.shared_blocks.empty()) {
      table = p.shared_blocks;
      plan->new_blocks.insert(plan->new_blocks.end(), table.begin(), table.end());
    }
    r.computed += entry.count;
    while (static_cast<int32_t>(table.size()) * block_size_ < r.computed) {
      INFERD_CHECK(next_block_ < num_blocks_);
      plan->new_blocks.push_back(next_block_);
      table.push_back(next_block_++);
    }
    entry.num_new_blocks = static_cast<uint16_t>(static_cast<int32_t>(plan->new_blocks.size()) -
                                                 entry.first_new_block);
    if (r.computed == r.known) {
      entry.sample = 1;
      if (r.sampled > 0 && carry_tokens) {
        entry.input_token = results_[i].tokens.back();
      } else {
        entry.input_on_device = r.sampled > 0 ? 1 : 0;
      }
      ++r.known;
      ++r.sampled;
    }
    budget -= entry.count;
    plan->entries.push_back(entry);
  }
  if (plan->entries.empty()) {
    to_release_.swap(plan->released);
    return nullptr;
  }
  ++step_;
  return plan;
}

std::vector<DrivenResult> PlanDriver::Run(const std::vector<DrivenPrompt>& prompts, int32_t budget,
                                          int32_t depth) {
  INFERD_CHECK(static_cast<int32_t>(prompts.size()) <= num_slots_);
  results_.assign(prompts.size(), {});
  running_.assign(prompts.size(), {});
  for (size_t i = 0; i < prompts.size(); ++i) {
    running_[i].slot = (first_slot + static_cast<int32_t>(i)) % num_slots_;
  }
  int32_t in_flight = 0;
  for (;;) {
    std::shared_ptr<BatchPlan> plan;
    if (in_flight < depth) plan = Next(prompts, budget);
    if (plan != nullptr) {
      plans_.push_back(plan);
      executor_.Submit(plan);
      ++in_flight;
    }
    if (plan != nullptr && in_flight < depth) continue;
    if (in_flight == 0) break;
    const StepResult result = executor_.Await();
    --in_flight;
    INFERD_CHECK(result.error.ok());
    for (const StepOutput& output : result.outputs) {
      INFERD_CHECK(!output.corrupted);
      for (size_t i = 0; i < running_.size(); ++i) {
        if (running_[i].slot == output.slot) results_[i].tokens.push_back(output.token);
      }
    }
  }
  for (const Running& r : running_) to_release_.push_back(r.slot);
  return results_;
}

}  // namespace inferd::testing
