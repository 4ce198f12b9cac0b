// Ops::Sample: the logits come to the host, and the reference's sampler draws there
// when the step is finished.
#include <algorithm>
#include <cstring>

#include "backends/cuda/cuda_ops.h"
#include "inferd/base/check.h"

namespace inferd {

void CudaOps::Sample(TensorView logits, std::span<const SampleRow> rows,
                     std::span<SampleOutput> out) {
  INFERD_CHECK(logits.dtype == DType::kF32 && logits.rank == 2 && out.size() == rows.size());
  INFERD_CHECK(std::ssize(rows) <= logits.dim(0) && samples_.rows.empty());
  EndOps();
  if (!Running() || rows.empty()) return;
  const auto row_bytes = static_cast<size_t>(logits.dim(1)) * sizeof(float);
  const size_t most = std::max(rows.size(), static_cast<size_t>(max_sequences_)) * row_bytes;
  if (logits_.size() < most) {
    auto memory = PinnedBuffer::Create(most);
    if (!memory.ok()) return device_->Fail(memory.status());
    logits_ = std::move(*memory);
  }
  device_->Copy(logits_.data(), logits.data, rows.size() * row_bytes, cudaMemcpyDeviceToHost);
  samples_ = {rows, out, logits.dim(1)};
}

void CudaOps::DrawSamples() {
  auto* logits = reinterpret_cast<float*>(logits_.data());
  for (size_t i = 0; i < samples_.rows.size(); ++i, logits += samples_.vocab) {
    RefSampleRow({logits, static_cast<size_t>(samples_.vocab)}, samples_.rows[i], &sampler_,
                 &samples_.out[i]);
  }
}

}  // namespace inferd
