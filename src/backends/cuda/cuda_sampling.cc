// Ops::Sample: enqueued behind the step's ops; Finish takes the answers.
#include "backends/cuda/cuda_ops.h"
#include "inferd/base/check.h"

namespace inferd {

void CudaOps::Sample(TensorView logits, std::span<const SampleRow> rows,
                     std::span<SampleOutput> out) {
  INFERD_CHECK(logits.dtype == DType::kF32 && logits.rank == 2 && out.size() == rows.size());
  INFERD_CHECK(std::ssize(rows) <= logits.dim(0) && !sampled_);
  EndOps();
  device_->Use();
  if (!Running() || rows.empty()) return;
  const auto vocabulary = static_cast<int32_t>(logits.dim(1));
  sampler_.Prepare(max_sequences_, vocabulary);
  sampled_ = true;
  sampler_.Begin(logits.As<float>(), vocabulary, rows, out);
}

}  // namespace inferd
