#include "backends/cpu/cpu_kv.h"

#include "backends/cpu/cpu_ops.h"
#include "backends/host/tensor_checks.h"
#include "cpu/rope.h"

namespace inferd {
namespace {

kernels::KvElement ElementOf(DType dtype) {
  if (dtype == DType::kF32) return kernels::KvElement::kF32;
  if (dtype == DType::kBF16) return kernels::KvElement::kBF16;
  if (dtype == DType::kF8E4M3) return kernels::KvElement::kE4M3;
  INFERD_CHECK(dtype == DType::kI8);
  return kernels::KvElement::kI8;
}

}  // namespace

kernels::KvLayout KvLayoutOf(const KvLayerSpec& spec) {
  INFERD_CHECK(spec.head_dim >= 1 && spec.head_dim <= kernels::kMaxHeadDim);
  INFERD_CHECK(spec.block_size >= 1 && spec.block_size <= kernels::kMaxBlockSize);
  return kernels::MakeKvLayout(ElementOf(spec.dtype), spec.num_kv_heads, spec.head_dim,
                               spec.block_size);
}

int64_t CpuOps::KvBytesPerBlock(const KvLayerSpec& spec) const {
  return KvLayoutOf(spec).block_bytes;
}

void CpuOps::StoreRows(const HostStepPlan& step, const RopeTable* table, TensorView qkv,
                       int32_t num_q_heads, const KvLayerView& kv, int64_t begin,
                       int64_t end) const {
  const kernels::KvLayout layout = KvLayoutOf(kv.spec);
  const int64_t dim = kv.spec.head_dim;
  for (int64_t t = begin; t < end; ++t) {
    const auto row_index = static_cast<int32_t>(t);
    const int64_t position = step.position(row_index);
    float* row = qkv.As<float>() + t * qkv.dim(1);
    if (table != nullptr) {
      const int64_t half = table->rotary_dim / 2;
      kernels::RotateHeads(row, num_q_heads + kv.spec.num_kv_heads, dim, half,
                           Floats(table->cos) + position * half,
                           Floats(table->sin) + position * half);
    }
    const BlockId block =
        step.block_table(step.sequence_of(row_index))[position / kv.spec.block_size];
    const float* keys = row + num_q_heads * dim;
    kernels::StoreKv(layout, static_cast<std::byte*>(kv.data) + block * layout.block_bytes,
                     position % kv.spec.block_size, keys, keys + kv.spec.num_kv_heads * dim);
  }
}

void CpuOps::AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                      const KvLayerView& kv) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckQkv(step, qkv, num_q_heads, kv);
  Split(step.num_tokens(), int64_t{4} * kv.spec.num_kv_heads * kv.spec.head_dim,
        [&](int64_t begin, int64_t end, int) {
          StoreRows(step, nullptr, qkv, num_q_heads, kv, begin, end);
        });
}

void CpuOps::RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                          int32_t num_q_heads, const KvLayerView& kv) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckQkv(step, qkv, num_q_heads, kv);
  CheckRope(step, table, qkv, num_q_heads + kv.spec.num_kv_heads, kv.spec.head_dim);
  Split(step.num_tokens(), 2 * qkv.dim(1), [&](int64_t begin, int64_t end, int) {
    StoreRows(step, &table, qkv, num_q_heads, kv, begin, end);
  });
}

}  // namespace inferd
