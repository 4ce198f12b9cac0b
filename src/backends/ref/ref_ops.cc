#include "backends/ref/ref_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/host/host_weights.h"
#include "backends/host/tensor_checks.h"

namespace inferd {

void RefOps::Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  const int64_t n = table.view.dim(1);
  CheckRows(out, step.num_tokens(), n);
  for (int32_t t = 0; t < step.num_tokens(); ++t) {
    const int64_t token = step.token_id(t);
    const int64_t id = token - table.first_row;
    if (id < 0 || id >= table.view.dim(0)) {
      if (!table.is_part() || token < 0 || token >= table.vocab_size) {
        SetError("token id outside the embedding table");
      }
      std::fill_n(out.As<float>() + t * n, n, 0.0F);
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      out.As<float>()[t * n + i] = LoadFloat(table.view.data, table.view.dtype, id * n + i);
    }
  }
}

namespace {

void NormalizeRow(const float* x, const float* weight, int64_t n, float eps, float* out) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * scale * weight[i]);
}

}  // namespace

void RefOps::RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) {
  const int64_t n = weight.size;
  CheckRows(x, x.dim(0), n);
  CheckRows(out, x.dim(0), n);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    NormalizeRow(x.As<float>() + t * n, Floats(weight.data), n, eps, out.As<float>() + t * n);
  }
}

void RefOps::HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                         const VectorWeight& weight, float eps) {
  CheckHeads(x, first_head, num_heads, head_dim, weight);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int32_t h = first_head; h < first_head + num_heads; ++h) {
      float* head = x.As<float>() + t * x.dim(1) + int64_t{h} * head_dim;
      NormalizeRow(head, Floats(weight.data), head_dim, eps, head);
    }
  }
}

void RefOps::Add(TensorView x, TensorView y) {
  CheckSameRows(x, y);
  for (int64_t i = 0; i < x.NumElements(); ++i) x.As<float>()[i] += y.As<float>()[i];
}

void RefOps::SiluMul(TensorView gate_up, TensorView out) {
  const int64_t n = out.dim(1);
  CheckGateUp(gate_up, out);
  for (int64_t t = 0; t < out.dim(0); ++t) {
    const float* gate = gate_up.As<float>() + t * 2 * n;
    const float* up = gate + n;
    for (int64_t i = 0; i < n; ++i) {
      const double g = gate[i];
      out.As<float>()[t * n + i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
    }
  }
}

void RefOps::Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
                  int32_t head_dim) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckRope(step, table, x, num_heads, head_dim);
  const int64_t half = table.rotary_dim / 2;
  for (int32_t t = 0; t < step.num_tokens(); ++t) {
    const float* cos = Floats(table.cos) + step.position(t) * half;
    const float* sin = Floats(table.sin) + step.position(t) * half;
    for (int32_t h = 0; h < num_heads; ++h) {
      float* head = x.As<float>() + t * x.dim(1) + int64_t{h} * head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const double a = head[i];
        const double b = head[i + half];
        head[i] = static_cast<float>(a * cos[i] - b * sin[i]);
        head[i + half] = static_cast<float>(b * cos[i] + a * sin[i]);
      }
    }
  }
}

void RefOps::Sample(TensorView logits, std::span<const SampleRow> rows,
                    std::span<SampleOutput> out) {
  const int64_t vocab = logits.dim(1);
  CheckSample(logits, rows, out);
  for (size_t i = 0; i < rows.size(); ++i) {
    RefSampleRow({logits.As<float>() + static_cast<int64_t>(i) * vocab, static_cast<size_t>(vocab)},
                 rows[i], &sampler_, &out[i]);
  }
}

}  // namespace inferd
