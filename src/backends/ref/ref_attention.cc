#include <algorithm>
#include <cmath>

#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"
#include "backends/ref/ref_ops.h"

namespace inferd {

int64_t RefOps::KvBytesPerBlock(const KvLayerSpec& spec) const {
  const int64_t heads = int64_t{2} * spec.block_size * spec.num_kv_heads;
  const int64_t bytes = heads * spec.head_dim * DTypeSize(spec.dtype);
  if (spec.dtype != DType::kI8) return bytes;
  return (heads + (bytes + 3) / 4) * static_cast<int64_t>(sizeof(float));
}

RefOps::KvPlace RefOps::PlaceInBlock(const KvLayerSpec& spec, bool value, int32_t token,
                                     int32_t head) const {
  const int64_t slot = int64_t{value ? spec.block_size : 0} + token;
  const int64_t index = slot * spec.num_kv_heads + head;
  const int64_t bytes = int64_t{2} * spec.block_size * spec.num_kv_heads * spec.head_dim;
  return {index * spec.head_dim, 1, (bytes + 3) / 4 + index};
}

void RefOps::StoreInt8(std::byte* block, const KvPlace& place, const float* head, int32_t n) {
  float largest = 0;
  bool finite = true;
  for (int32_t d = 0; d < n; ++d) {
    finite = finite && std::isfinite(head[d]);
    largest = std::max(largest, std::fabs(head[d]));
  }
  const float factor = 127.0F / largest;
  // Also when the reciprocal is infinite for a number too small to have one.
  const bool zero = !finite || !std::isfinite(factor);
  for (int32_t d = 0; d < n; ++d) {
    const float rounded = zero ? 0.0F : std::nearbyint(head[d] * factor);
    reinterpret_cast<int8_t*>(block)[place.offset + d * place.stride] =
        static_cast<int8_t>(rounded);
  }
  reinterpret_cast<float*>(block)[place.scale] = !finite ? NAN : zero ? 0.0F : largest / 127.0F;
}

void RefOps::AppendKv(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                      const KvLayerView& kv) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  const KvLayerSpec& spec = kv.spec;
  CheckQkv(step, qkv, num_q_heads, kv);
  const int64_t block_bytes = KvBytesPerBlock(spec);
  for (int32_t t = 0; t < step.num_tokens(); ++t) {
    const int32_t position = step.position(t);
    const BlockId block = step.block_table(step.sequence_of(t))[position / spec.block_size];
    std::byte* data = static_cast<std::byte*>(kv.data) + block * block_bytes;
    const float* row = qkv.As<float>() + t * qkv.dim(1);
    for (int32_t h = 0; h < 2 * spec.num_kv_heads; ++h) {
      const bool value = h >= spec.num_kv_heads;
      const KvPlace place =
          PlaceInBlock(spec, value, position % spec.block_size, value ? h - spec.num_kv_heads : h);
      const float* head = row + int64_t{num_q_heads + h} * spec.head_dim;
      if (spec.dtype == DType::kI8) {
        StoreInt8(data, place, head, spec.head_dim);
        continue;
      }
      for (int32_t d = 0; d < spec.head_dim; ++d) {
        const int64_t i = place.offset + d * place.stride;
        if (spec.dtype == DType::kF8E4M3) {
          reinterpret_cast<uint8_t*>(data)[i] = F32ToE4M3(std::isfinite(head[d]) ? head[d] : NAN);
        } else if (spec.dtype == DType::kBF16) {
          reinterpret_cast<uint16_t*>(data)[i] = F32ToBF16(head[d]);
        } else {
          reinterpret_cast<float*>(data)[i] = head[d];
        }
      }
    }
  }
}

void RefOps::Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                       const KvLayerView& kv, float scale, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  const KvLayerSpec& spec = kv.spec;
  CheckQkv(step, qkv, num_q_heads, kv);
  CheckRows(out, step.num_tokens(), int64_t{num_q_heads} * spec.head_dim);
  const int64_t block_bytes = KvBytesPerBlock(spec);
  const int32_t group = num_q_heads / spec.num_kv_heads;
  for (int32_t t = 0; t < step.num_tokens(); ++t) {
    const BlockId* table = step.block_table(step.sequence_of(t));
    const int32_t keys = step.position(t) + 1;
    for (int32_t h = 0; h < num_q_heads; ++h) {
      // Calls use(d, value) for the head's values of the key or value at `position`.
      const auto visit = [&](bool value, int32_t position, auto use) {
        const std::byte* block = static_cast<const std::byte*>(kv.data) +
                                 table[position / spec.block_size] * block_bytes;
        const KvPlace place = PlaceInBlock(spec, value, position % spec.block_size, h / group);
        for (int32_t d = 0; d < spec.head_dim; ++d) {
          const int64_t i = place.offset + d * place.stride;
          if (spec.dtype == DType::kI8) {
            use(d, static_cast<float>(reinterpret_cast<const int8_t*>(block)[i]) *
                       reinterpret_cast<const float*>(block)[place.scale]);
          } else {
            use(d, LoadFloat(block, spec.dtype, i));
          }
        }
      };
      const float* q = qkv.As<float>() + t * qkv.dim(1) + int64_t{h} * spec.head_dim;
      float* result = out.As<float>() + t * out.dim(1) + int64_t{h} * spec.head_dim;
      scores_.resize(keys);
      double max = -INFINITY;
      for (int32_t p = 0; p < keys; ++p) {
        double dot = 0;
        visit(false, p, [&](int32_t d, float k) { dot += double{q[d]} * k; });
        scores_[p] = dot * double{scale};
        max = std::max(max, scores_[p]);
      }
      double sum = 0;
      for (double& score : scores_) sum += score = std::exp(score - max);
      mixed_.assign(spec.head_dim, 0.0);
      for (int32_t p = 0; p < keys; ++p) {
        visit(true, p, [&](int32_t d, float v) { mixed_[d] += scores_[p] * v; });
      }
      for (int32_t d = 0; d < spec.head_dim; ++d) result[d] = static_cast<float>(mixed_[d] / sum);
    }
  }
}

}  // namespace inferd
