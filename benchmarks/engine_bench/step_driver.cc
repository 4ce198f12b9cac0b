#include "engine_bench/step_driver.h"

#include <algorithm>
#include <utility>

namespace inferd::bench {

Status StepDriver::AddEntry(SlotId slot, int32_t count, bool on_device, BatchPlan* plan) {
  Stream& stream = streams_[static_cast<size_t>(slot)];
  StepEntry entry;
  entry.slot = slot;
  entry.start = stream.computed;
  entry.count = count;
  entry.first_new_block = static_cast<int32_t>(plan->new_blocks.size());
  entry.input_on_device = on_device ? 1 : 0;
  stream.computed += count;
  for (; stream.blocks * limits_.block_size < stream.computed; ++stream.blocks) {
    if (next_block_ >= limits_.num_blocks) return ResourceExhaustedError("too few KV blocks");
    plan->new_blocks.push_back(next_block_++);
    ++entry.num_new_blocks;
  }
  if (stream.computed == stream.known) {
    entry.sample = 1;
    ++stream.known;
  }
  plan->entries.push_back(entry);
  return OkStatus();
}

Status StepDriver::Submit(std::shared_ptr<const BatchPlan> plan) {
  if (in_flight_ == limits_.max_in_flight) INFERD_RETURN_IF_ERROR(AwaitOne());
  executor_.Submit(std::move(plan));
  ++in_flight_;
  return OkStatus();
}

Status StepDriver::AwaitOne() {
  --in_flight_;
  const StepResult result = executor_.Await();
  INFERD_RETURN_IF_ERROR(result.error);
  const bool corrupted = std::any_of(result.outputs.begin(), result.outputs.end(),
                                     [](const StepOutput& output) { return output.corrupted; });
  return corrupted ? InternalError("the logits are not finite") : OkStatus();
}

Status StepDriver::AwaitAll() {
  while (in_flight_ > 0) INFERD_RETURN_IF_ERROR(AwaitOne());
  return OkStatus();
}

Status StepDriver::Prefill(const std::vector<std::vector<TokenId>>& prompts) {
  auto plan = std::make_shared<BatchPlan>();
  for (size_t i = 0; i < streams_.size(); ++i) plan->released.push_back(static_cast<SlotId>(i));
  streams_.assign(prompts.size(), Stream());
  next_block_ = 1;
  int32_t room = limits_.max_batched_tokens;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Stream& stream = streams_[i];
    AdmittedSequence admitted;
    admitted.slot = static_cast<SlotId>(i);
    admitted.first_token = static_cast<int32_t>(plan->tokens.size());
    admitted.num_tokens = static_cast<int32_t>(prompts[i].size());
    admitted.num_prompt = admitted.num_tokens;
    admitted.sampling.temperature = 0;
    plan->tokens.insert(plan->tokens.end(), prompts[i].begin(), prompts[i].end());
    plan->admitted.push_back(std::move(admitted));
    stream.known = static_cast<int32_t>(prompts[i].size());
    int32_t left = stream.known;
    while (left > 0) {
      const int32_t count = std::min(left, room);
      INFERD_RETURN_IF_ERROR(AddEntry(static_cast<SlotId>(i), count, false, plan.get()));
      left -= count;
      room -= count;
      if (room > 0) continue;
      plan->step = ++step_;
      INFERD_RETURN_IF_ERROR(Submit(std::exchange(plan, std::make_shared<BatchPlan>())));
      room = limits_.max_batched_tokens;
    }
  }
  if (!plan->entries.empty()) {
    plan->step = ++step_;
    INFERD_RETURN_IF_ERROR(Submit(std::move(plan)));
  }
  return AwaitAll();
}

Status StepDriver::Decode(int32_t tokens) {
  for (int32_t i = 0; i < tokens; ++i) {
    auto plan = std::make_shared<BatchPlan>();
    plan->step = ++step_;
    for (size_t s = 0; s < streams_.size(); ++s) {
      INFERD_RETURN_IF_ERROR(AddEntry(static_cast<SlotId>(s), 1, true, plan.get()));
    }
    INFERD_RETURN_IF_ERROR(Submit(std::move(plan)));
  }
  return AwaitAll();
}

}  // namespace inferd::bench
