// Ranks that each have an emulated device, in threads of the test.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "inferd/runtime/rank.h"
#include "runtime/golden_files.h"
#include "runtime/plan_driver.h"
#include "runtime/tap_ops.h"

namespace inferd::testing {

inline std::vector<DrivenPrompt> GoldenPrompts(const std::string& family, int32_t max_new) {
  std::vector<DrivenPrompt> prompts;
  for (const ExpectedPrompt& e : ReadExpected(GoldenDir(family))) {
    DrivenPrompt p;
    p.prompt = e.ids;
    p.sampling.temperature = 0.0F;
    p.sampling.seed = prompts.size();
    p.max_new = std::min(max_new, static_cast<int32_t>(e.greedy.size()));
    prompts.push_back(std::move(p));
  }
  return prompts;
}

inline RankOptions EmulatedRankOptions(const std::string& family, int32_t slots) {
  RankOptions options;
  options.model_dir = GoldenDir(family);
  options.memory.max_running = slots;
  options.memory.max_batched_tokens = 96;
  options.memory.max_model_len = 256;
  options.memory.kv_dtype = DType::kF32;
  return options;
}

class EmulatedGroup {
 public:
  static constexpr int32_t kSlots = 4;

  EmulatedGroup(const std::string& family, const ParallelShape& shape)
      : options(EmulatedRankOptions(family, kSlots)), shape_(shape) {
    options.max_in_flight = shape.pp + 1;
    // Which keeps steps from overlapping.
    options.compare_tokens = shape.tp_columns > 1;
  }

  // `tap`: to look at the logits.
  Status Start(bool tap = true) {
    ResetFakeCuda();
    SetFakeDevices(shape_.ranks());
    std::vector<Ops*> ops;
    for (int r = 0; r < shape_.ranks(); ++r) {
      BackendOptions backend;
      backend.device = r;
      INFERD_ASSIGN_OR_RETURN(backends_.emplace_back(), MakeCudaBackend(backend));
      taps_.push_back(std::make_unique<TapOps>(backends_.back()->ops()));
      ops.push_back(tap ? taps_.back().get() : &backends_.back()->ops());
    }
    INFERD_ASSIGN_OR_RETURN(executor_, StartThreadExecutor(options, shape_, ops, clock_, nullptr));
    driver_ = std::make_unique<PlanDriver>(*executor_, kSlots, options.memory.block_size,
                                           executor_->info().memory.num_blocks);
    driver_->carry_tokens = shape_.pp > 1;
    driver_->max_entries = shape_.pp > 1 ? 2 : 1024;
    return OkStatus();
  }

  LocalExecutor& executor() { return *executor_; }
  PlanDriver& driver() { return *driver_; }
  // Of a rank of the last stage.
  const std::map<TapOps::Key, std::vector<float>>& logits(int tp_rank) const {
    return taps_[static_cast<size_t>((shape_.pp - 1) * shape_.tp() + tp_rank)]->logits();
  }

  RankOptions options;

 private:
  const ParallelShape shape_;
  const SystemClock clock_{};
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<TapOps>> taps_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<PlanDriver> driver_;
};

}  // namespace inferd::testing
