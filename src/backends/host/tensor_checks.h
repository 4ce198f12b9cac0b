// The shapes the callers of host ops promise. Any thread.
#pragma once

#include <cstdint>
#include <span>

#include "backends/host/host_step_plan.h"
#include "inferd/base/check.h"
#include "inferd/ops/sampling.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// x is [rows, columns] of f32.
inline void CheckRows(const TensorView& x, int64_t rows, int64_t columns) {
  INFERD_CHECK(x.dtype == DType::kF32 && x.rank == 2);
  INFERD_CHECK(x.dim(0) == rows && x.dim(1) == columns);
  INFERD_CHECK(x.data != nullptr || x.NumElements() == 0);
}

// Two of one shape.
inline void CheckSameRows(const TensorView& x, const TensorView& y) {
  CheckRows(x, y.dim(0), y.dim(1));
  CheckRows(y, x.dim(0), x.dim(1));
}

// A row of x holds heads of head_dim values; some of them are normalized.
inline void CheckHeads(const TensorView& x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                       const VectorWeight& weight) {
  CheckRows(x, x.dim(0), x.dim(1));
  INFERD_CHECK(weight.size == head_dim && first_head >= 0 && num_heads >= 0);
  INFERD_CHECK(int64_t{first_head + num_heads} * head_dim <= x.dim(1));
}

// gate_up rows are [gate | up], each as wide as a row of out.
inline void CheckGateUp(const TensorView& gate_up, const TensorView& out) {
  CheckRows(gate_up, out.dim(0), 2 * out.dim(1));
  CheckRows(out, out.dim(0), out.dim(1));
}

// logits are [rows, vocabulary].
inline void CheckSample(const TensorView& logits, std::span<const SampleRow> rows,
                        std::span<const SampleOutput> out) {
  CheckRows(logits, static_cast<int64_t>(rows.size()), logits.dim(1));
  INFERD_CHECK(out.size() == rows.size());
}

inline const float* Floats(const Buffer& buffer) {
  return reinterpret_cast<const float*>(buffer.data());
}

inline void CheckRope(const HostStepPlan& step, const RopeTable& table, const TensorView& x,
                      int32_t num_heads, int32_t head_dim) {
  CheckRows(x, step.num_tokens(), x.dim(1));
  INFERD_CHECK(table.rotary_dim % 2 == 0 && table.rotary_dim <= head_dim);
  INFERD_CHECK(num_heads >= 0 && int64_t{num_heads} * head_dim <= x.dim(1));
  INFERD_CHECK(step.max_position() < table.max_positions);
}

// qkv rows are [q heads | k heads | v heads].
inline void CheckQkv(const HostStepPlan& step, const TensorView& qkv, int32_t num_q_heads,
                     const KvLayerView& kv) {
  const KvLayerSpec& spec = kv.spec;
  INFERD_CHECK(spec.num_kv_heads > 0 && num_q_heads % spec.num_kv_heads == 0);
  INFERD_CHECK(spec.dtype == DType::kF32 || spec.dtype == DType::kBF16 ||
               spec.dtype == DType::kI8 || spec.dtype == DType::kF8E4M3);
  CheckRows(qkv, step.num_tokens(), int64_t{num_q_heads + 2 * spec.num_kv_heads} * spec.head_dim);
  step.CheckFits(kv);
}

}  // namespace inferd
