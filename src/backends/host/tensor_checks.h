// The shapes the callers of host ops promise. Any thread.
#pragma once

#include <cstdint>

#include "backends/host/host_step_plan.h"
#include "inferd/base/check.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// x is [rows, columns] of f32.
inline void CheckRows(const TensorView& x, int64_t rows, int64_t columns) {
  INFERD_CHECK(x.dtype == DType::kF32 && x.rank == 2);
  INFERD_CHECK(x.dim(0) == rows && x.dim(1) == columns);
  INFERD_CHECK(x.data != nullptr || x.NumElements() == 0);
}

inline const float* Floats(const Buffer& buffer) {
  return reinterpret_cast<const float*>(buffer.data());
}

inline void CheckRope(const HostStepPlan& step, const RopeTable& table, const TensorView& x,
                      int32_t num_heads, int32_t head_dim) {
  INFERD_CHECK(table.rotary_dim % 2 == 0 && table.rotary_dim <= head_dim);
  INFERD_CHECK(num_heads >= 0 && int64_t{num_heads} * head_dim <= x.dim(1));
  INFERD_CHECK(step.max_position() < table.max_positions);
}

// qkv rows are [q heads | k heads | v heads].
inline void CheckQkv(const HostStepPlan& step, const TensorView& qkv, int32_t num_q_heads,
                     const KvLayerView& kv) {
  const KvLayerSpec& spec = kv.spec;
  INFERD_CHECK(spec.num_kv_heads > 0 && num_q_heads % spec.num_kv_heads == 0);
  INFERD_CHECK(spec.dtype == DType::kF32 || spec.dtype == DType::kBF16);
  CheckRows(qkv, step.num_tokens(), int64_t{num_q_heads + 2 * spec.num_kv_heads} * spec.head_dim);
  step.CheckFits(kv);
}

}  // namespace inferd
