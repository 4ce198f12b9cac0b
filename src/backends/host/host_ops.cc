#include "backends/host/host_ops.h"

#include <algorithm>
#include <utility>

#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"

namespace inferd {

StatusOr<VectorWeight> HostOps::PackVector(const TensorView& host) {
  return VectorToF32(host, files_, allocator_);
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

void HostOps::CopyColumns(TensorView from, int64_t from_column, TensorView to, int64_t to_column,
                          int64_t columns) {
  CheckRows(from, to.dim(0), from.dim(1));
  CheckRows(to, to.dim(0), to.dim(1));
  INFERD_CHECK(columns >= 0 && from_column >= 0 && from_column + columns <= from.dim(1));
  INFERD_CHECK(to_column >= 0 && to_column + columns <= to.dim(1));
  for (int64_t t = 0; t < to.dim(0); ++t) {
    std::copy_n(from.As<float>() + t * from.dim(1) + from_column, columns,
                to.As<float>() + t * to.dim(1) + to_column);
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
