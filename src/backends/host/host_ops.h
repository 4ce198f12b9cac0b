#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "backends/host/host_step_plan.h"
#include "inferd/ops/ops.h"

namespace inferd {

// The part of the op set that is the same for every backend in host memory: small
// weights, plans, the gathering of rows, the first error of a step. Used by one
// rank thread.
class HostOps : public Ops {
 public:
  Allocator& allocator() override { return allocator_; }

  void SetFiles(const FileBytes* files) override { files_ = files; }
  StatusOr<VectorWeight> PackVector(const TensorView& host) override;
  StatusOr<EmbeddingTable> PackEmbedding(const TensorView& host) override;
  StatusOr<Buffer> Upload(std::span<const float> host) override;
  // The plans are HostStepPlan.
  std::unique_ptr<StepPlan> MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                         int32_t max_blocks_per_sequence) override;

  void PlanStep(const StepInputs& inputs, StepPlan* plan) override;
  void GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) override;
  void CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                   int64_t columns) override;
  Status Finish() override;

 protected:
  // What Finish will answer; the first one is kept.
  void SetError(std::string_view message);

  HostAllocator allocator_;
  const FileBytes* files_ = nullptr;

 private:
  Status error_;
};

}  // namespace inferd
