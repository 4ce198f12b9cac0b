#include "backends/cpu/attention_work.h"
#include "backends/cpu/cpu_kv.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/host/tensor_checks.h"

namespace inferd {

void CpuOps::Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                       const KvLayerView& kv, float scale, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckQkv(step, qkv, num_q_heads, kv);
  CheckRows(out, step.num_tokens(), int64_t{num_q_heads} * kv.spec.head_dim);
  if (step.num_tokens() == 0) return;
  const kernels::AttentionParams p{
      KvLayoutOf(kv.spec), kv.data, qkv.As<float>(), qkv.dim(1), out.As<float>(),
      out.dim(1),          scale};
  const int64_t floats =
      scratch_.empty() ? 0 : scratch_.NumBytes() / static_cast<int64_t>(sizeof(float));
  attention_.Plan(step, p, num_q_heads, pool_.threads(),
                  floats > 0 ? scratch_.As<float>() : nullptr, floats);
  const auto run = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) attention_.Run(i);
  };
  // Sixteen dims at a time.
  if (attention_.cost() * kv.spec.head_dim / 16 < 16384) {
    run(0, attention_.num_ranges(), 0);
  } else {
    pool_.ParallelFor(attention_.num_ranges(), 1, run);
  }
  pool_.ParallelFor(attention_.num_split_tasks(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) attention_.Join(i);
  });
}

}  // namespace inferd
