#include "backends/host/host_ops.h"

#include <algorithm>
#include <utility>

#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"

namespace inferd {

StatusOr<VectorWeight> HostOps::PackVector(const TensorView& host) {
  return VectorToF32(host, allocator_);
}

StatusOr<EmbeddingTable> HostOps::PackEmbedding(const TensorView& host) {
  return BorrowEmbedding(host);
}

StatusOr<Buffer> HostOps::Upload(std::span<const float> host) {
  return CopyFloats(host, allocator_);
}

std::unique_ptr<StepPlan> HostOps::MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                                int32_t max_blocks_per_sequence) {
  return std::make_unique<HostStepPlan>(max_tokens, max_sequences, max_blocks_per_sequence);
}

void HostOps::PlanStep(const StepInputs& inputs, StepPlan* plan) {
  static_cast<HostStepPlan*>(plan)->Set(inputs);
}

void HostOps::GatherSampleRows(const StepPlan& plan, TensorView x, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  const int64_t n = x.dim(1);
  CheckRows(x, step.num_tokens(), n);
  CheckRows(out, step.num_sample_rows(), n);
  for (int32_t i = 0; i < step.num_sample_rows(); ++i) {
    std::copy_n(x.As<float>() + step.sample_row(i) * n, n, out.As<float>() + i * n);
  }
}

Status HostOps::Finish() {
  Status result = std::move(error_);
  error_ = OkStatus();
  return result;
}

void HostOps::SetError(std::string_view message) {
  if (error_.ok()) error_ = InternalError(message);
}

}  // namespace inferd
