#include "sched/plan_builder.h"

#include <limits>
#include <utility>

#include "inferd/base/check.h"

namespace inferd {

void PlanBuilder::Admit(const Sequence& sequence, uint64_t seed) {
  AdmittedSequence& admitted = plan_->admitted.emplace_back();
  admitted.slot = sequence.slot;
  admitted.first_token = static_cast<int32_t>(plan_->tokens.size());
  admitted.num_tokens = static_cast<int32_t>(sequence.tokens.size());
  admitted.num_prompt = sequence.num_prompt;
  admitted.sampling = sequence.request->spec.sampling;
  admitted.sampling.seed = seed;
  plan_->tokens.insert(plan_->tokens.end(), sequence.tokens.begin(), sequence.tokens.end());
}

void PlanBuilder::AddEntry(Sequence& sequence, int32_t count, bool sample) {
  const auto& blocks = sequence.table.blocks;
  const size_t num_new = blocks.size() - static_cast<size_t>(sequence.num_sent_blocks);
  INFERD_CHECK(num_new <= std::numeric_limits<uint16_t>::max());
  StepEntry& entry = plan_->entries.emplace_back();
  entry.slot = sequence.slot;
  entry.start = sequence.num_computed;
  entry.count = count;
  entry.first_new_block = static_cast<int32_t>(plan_->new_blocks.size());
  entry.num_new_blocks = static_cast<uint16_t>(num_new);
  entry.sample = sample ? 1 : 0;
  entry.input_on_device =
      sequence.num_computed >= static_cast<int32_t>(sequence.tokens.size()) ? 1 : 0;
  // Drawn since the admission, and known by now.
  const bool drawn = sequence.num_computed >= sequence.num_admitted;
  if (drawn && entry.input_on_device == 0) {
    entry.input_token = sequence.tokens[static_cast<size_t>(sequence.num_computed + count) - 1];
  }
  plan_->new_blocks.insert(plan_->new_blocks.end(), blocks.begin() + sequence.num_sent_blocks,
                           blocks.end());
  sequence.num_sent_blocks = static_cast<int32_t>(blocks.size());
}

std::shared_ptr<const BatchPlan> PlanBuilder::Finish() {
  INFERD_CHECK(!plan_->entries.empty());
  const size_t num_entries = plan_->entries.size();
  plan_->step = step_++;
  std::shared_ptr<const BatchPlan> done = std::exchange(plan_, std::make_shared<BatchPlan>());
  plan_->entries.reserve(num_entries);
  return done;
}

}  // namespace inferd
