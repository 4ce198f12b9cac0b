#include "backends/cpu/cpu_ops.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "backends/cpu/cpu_linear_fp8.h"
#include "backends/cpu/cpu_linear_int.h"
#include "backends/cpu/cpu_sampling.h"
#include "backends/host/tensor_checks.h"
#include "cpu/elementwise.h"
#include "cpu/norm.h"
#include "cpu/rope.h"

namespace inferd {

std::unique_ptr<StepPlan> CpuOps::MakeStepPlan(int32_t max_tokens, int32_t max_sequences,
                                               int32_t max_blocks_per_sequence) {
  attention_.Reserve(max_sequences);
  return HostOps::MakeStepPlan(max_tokens, max_sequences, max_blocks_per_sequence);
}

// Linear keeps its rows in tile order there, as floats, in bf16 or in 8 bits, Sample its
// candidates, Attention the partials of its splits; never two at a time.
int64_t CpuOps::ScratchBytes(int32_t max_tokens, int32_t /*max_sequences*/, int64_t max_features,
                             int64_t vocab_size) const {
  const int64_t row = std::max({max_features * static_cast<int64_t>(sizeof(float)),
                                IntLinearRowBytes(max_features), Fp8LinearRowBytes(max_features),
                                bf16_ ? kernels::PackedBf16RowBytes(*bf16_, max_features) : 0});
  const int64_t rows = max_tokens * row;
  const int64_t sampling = CpuSamplerMemory::Bytes(vocab_size) * pool_.threads();
  const int64_t splits = (int64_t{1} << 20) * pool_.threads();
  return std::max({rows, sampling, splits}) + 64;
}

void CpuOps::SetScratch(TensorView scratch) {
  INFERD_CHECK(reinterpret_cast<uintptr_t>(scratch.data) % 64 == 0);
  scratch_ = scratch;
}

Status CpuOps::ReadRow(const EmbeddingTable& table, int64_t id, float* to) {
  const int64_t n = table.view.dim(1);
  const auto element = table.view.dtype == DType::kF32   ? kernels::Element::kF32
                       : table.view.dtype == DType::kF16 ? kernels::Element::kF16
                                                         : kernels::Element::kBF16;
  const int64_t value_bytes = DTypeSize(table.view.dtype);
  const auto* row = table.view.As<const std::byte>() + id * n * value_bytes;
  if (!table.packed && table.files == nullptr) {
    kernels::Widen(element, row, n, to);
    return OkStatus();
  }
  const int64_t width = kernels::LinearPanelWidth();
  const std::byte* panel =
      table.view.As<const std::byte>() + id / width * kernels::LinearPackedBytes(element, width, n);
  // What most rows of 16-bit values fit into, on the stack.
  constexpr int64_t kPieceBytes = 8192;
  alignas(64) std::byte piece[kPieceBytes];
  const int64_t most = kPieceBytes / value_bytes;
  for (int64_t first = 0; first < n; first += most) {
    const int64_t count = std::min(most, n - first);
    if (table.packed) {
      kernels::UnpackLinearRow(element, panel, id % width, first, count, piece);
    } else {
      INFERD_RETURN_IF_ERROR(table.files->Read(piece, row + first * value_bytes,
                                               static_cast<size_t>(count * value_bytes)));
    }
    kernels::Widen(element, piece, count, to + first);
  }
  return OkStatus();
}

void CpuOps::Embed(const StepPlan& plan, const EmbeddingTable& table, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  const int64_t n = table.view.dim(1);
  CheckRows(out, step.num_tokens(), n);
  const int64_t vocab = table.is_part() ? table.vocab_size : table.view.dim(0);
  if (step.min_token() < 0 || step.max_token() >= vocab) {
    SetError("token id outside the embedding table");
  }
  std::mutex mutex;
  Status failed;
  Split(step.num_tokens(), n / 4 + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t id = step.token_id(static_cast<int32_t>(t)) - table.first_row;
      float* to = out.As<float>() + t * n;
      if (id < 0 || id >= table.view.dim(0)) {
        std::fill_n(to, n, 0.0F);
        continue;
      }
      if (Status read = ReadRow(table, id, to); !read.ok()) {
        const std::lock_guard lock(mutex);
        failed = std::move(read);
      }
    }
  });
  if (!failed.ok()) SetError("the embedding's rows: " + std::string(failed.message()));
}

void CpuOps::NormalizeRows(TensorView x, const TensorView* y, const VectorWeight& weight, float eps,
                           TensorView out) {
  const int64_t n = weight.size;
  CheckRows(x, x.dim(0), n);
  CheckRows(out, x.dim(0), n);
  if (y != nullptr) CheckRows(*y, x.dim(0), n);
  const kernels::RmsNormParams p{x.As<float>(),       n, y != nullptr ? y->As<float>() : nullptr,
                                 Floats(weight.data), n, eps,
                                 out.As<float>(),     n};
  Split(x.dim(0), n, [&](int64_t begin, int64_t end, int) { kernels::RmsNorm(p, begin, end); });
}

void CpuOps::RmsNorm(TensorView x, const VectorWeight& weight, float eps, TensorView out) {
  NormalizeRows(x, nullptr, weight, eps, out);
}

void CpuOps::AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                        TensorView out) {
  NormalizeRows(x, &y, weight, eps, out);
}

void CpuOps::HeadRmsNorm(TensorView x, int32_t first_head, int32_t num_heads, int32_t head_dim,
                         const VectorWeight& weight, float eps) {
  CheckHeads(x, first_head, num_heads, head_dim, weight);
  Split(x.dim(0), int64_t{num_heads} * head_dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* heads = x.As<float>() + t * x.dim(1) + int64_t{first_head} * head_dim;
      kernels::RmsNorm(
          {heads, head_dim, nullptr, Floats(weight.data), head_dim, eps, heads, head_dim}, 0,
          num_heads);
    }
  });
}

void CpuOps::Add(TensorView x, TensorView y) {
  CheckSameRows(x, y);
  const int64_t n = x.dim(1);
  Split(x.dim(0), n / 4 + 1, [&](int64_t begin, int64_t end, int) {
    kernels::Add(x.As<float>(), y.As<float>(), begin * n, end * n);
  });
}

void CpuOps::SiluMul(TensorView gate_up, TensorView out) {
  const int64_t n = out.dim(1);
  CheckGateUp(gate_up, out);
  const kernels::SiluMulParams p{gate_up.As<float>(), out.As<float>(), n};
  Split(out.dim(0), 2 * n,
        [&](int64_t begin, int64_t end, int) { kernels::SiluMul(p, begin, end); });
}

void CpuOps::Rope(const StepPlan& plan, const RopeTable& table, TensorView x, int32_t num_heads,
                  int32_t head_dim) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckRope(step, table, x, num_heads, head_dim);
  const int64_t half = table.rotary_dim / 2;
  Split(step.num_tokens(), int64_t{num_heads} * head_dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t angle = step.position(static_cast<int32_t>(t)) * half;
      kernels::RotateHeads(x.As<float>() + t * x.dim(1), num_heads, head_dim, half,
                           Floats(table.cos) + angle, Floats(table.sin) + angle);
    }
  });
}

void CpuOps::Sample(TensorView logits, std::span<const SampleRow> rows,
                    std::span<SampleOutput> out) {
  const int64_t vocab = logits.dim(1);
  CheckSample(logits, rows, out);
  const int64_t memory_bytes = CpuSamplerMemory::Bytes(vocab);
  INFERD_CHECK(scratch_.data != nullptr && scratch_.NumBytes() >= memory_bytes * pool_.threads());
  pool_.ParallelFor(
      static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end, int thread) {
        CpuSamplerMemory memory =
            CpuSamplerMemory::Place(scratch_.As<std::byte>() + thread * memory_bytes, vocab);
        for (int64_t i = begin; i < end; ++i) {
          CpuSampleRow({logits.As<float>() + i * vocab, static_cast<size_t>(vocab)}, rows[i],
                       memory, &out[i]);
        }
      });
}

}  // namespace inferd
