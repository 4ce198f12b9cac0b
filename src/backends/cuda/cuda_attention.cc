// Ops::Attention: which kernel takes a step, and what it needs beside the tensors.
#include <algorithm>

#include "backends/cuda/cuda_ops.h"
#include "backends/host/tensor_checks.h"
#include "cuda/attention.h"

namespace inferd {

void CudaOps::Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                        const KvLayerView& kv, float scale, TensorView out) {
  const auto& step = static_cast<const CudaStepPlan&>(plan);
  CheckQkv(step, qkv, num_q_heads, kv);
  CheckRows(out, step.num_tokens(), int64_t{num_q_heads} * kv.spec.head_dim);
  if (!Begins(Op::kAttention, {qkv, out}, kv.data, {num_q_heads})) return;
  const int32_t group = num_q_heads / kv.spec.num_kv_heads;
  cuda::AttentionParams params;
  params.qkv = {qkv.data, qkv.dim(1), cuda::Element::kF32};
  params.out = {out.data, out.dim(1), cuda::Element::kF32};
  params.kv = CacheOf(kv);
  params.num_q_heads = num_q_heads;
  params.scale = scale;
  params.row_start = step.starts();
  params.context_len = step.contexts();
  params.block_tables = step.tables();
  params.table_stride = step.table_stride();
  params.row_sequence = step.sequences();
  params.positions = step.positions();
  params.num_rows = step.num_tokens();
  params.terms = terms_;
  params.max_shared_bytes = device_->max_shared_bytes();
  params.multiprocessors = device_->multiprocessors();
  if (!cuda::TensorAttentionFits(params)) {
    return Launched(cuda::PlainAttention(params, device_->stream()), "attention");
  }
  CudaStepPlan::AttentionWork* work = step.WorkFor(kv.spec.block_size, group, kv.spec.num_kv_heads);
  if (work == nullptr) return;
  // Partial results lie where products put their rows: neither is in use by the other.
  const int64_t partial_bytes =
      int64_t{kv.spec.num_kv_heads} * (kv.spec.head_dim + 2) * static_cast<int64_t>(sizeof(float));
  const int64_t scratch_bytes = scratch_.data == nullptr ? 0 : scratch_.dim(0);
  params.partials = scratch_.As<float>();
  params.max_partial_rows =
      static_cast<int32_t>(std::min<int64_t>(scratch_bytes / partial_bytes, INT32_MAX));
  params.counts = work->counts;
  params.decode = work->decode;
  params.prefill = work->prefill;
  params.arrivals = work->arrivals;
  if (!work->ready) {
    work->ready = true;
    Launched(cuda::BuildAttentionWork({.row_start = params.row_start,
                                       .context_len = params.context_len,
                                       .num_sequences = step.num_sequences(),
                                       .group = group,
                                       .num_kv_heads = kv.spec.num_kv_heads,
                                       .num_blocks = params.multiprocessors,
                                       .max_decode = work->max_decode,
                                       .max_prefill = work->max_prefill,
                                       .max_partial_rows = params.max_partial_rows,
                                       .counts = work->counts,
                                       .decode = work->decode,
                                       .prefill = work->prefill},
                                      device_->stream()),
             "the work of attention");
  }
  if (Running()) Launched(cuda::DecodeAttention(params, device_->stream()), "attention");
  // One token of a sequence is a decode item as long as its heads are few.
  if (Running() && (!step.is_decode() || group > cuda::kMaxDecodeRows)) {
    Launched(cuda::PrefillAttention(params, device_->stream()), "attention");
  }
}

}  // namespace inferd
