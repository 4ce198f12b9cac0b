// out = softmax(scale q K^T) V, causal, over a paged cache.
//
// Layout: KvLayout (cpu/kv_cache.h). Keys are transposed so that a vector holds
// one dim of 16 tokens: scores need no horizontal sums.
// Order: splits of whole blocks (512 keys for blocks of 16) from position 0, each
// a softmax of its own, joined in order. Boundaries depend on positions only: a
// row's bits do not depend on how its prompt was chunked, on its neighbours or on
// who computed which split.
// Bound: cache bytes in decode (a kv head is read once for its whole group),
// multiply-adds in prefill and where a group is large for the element's size.
#include "cpu/attention.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h
#include "cpu/attention_split-inl.h"
#include "cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace inferd::kernels::HWY_NAMESPACE {

HWY_INLINE float ExpOne(float x) { return hn::GetLane(ExpOfNegative(hn::Set(DF(), x))); }

// total = total joined with the split that follows it, row by row.
void Join(const Partial& total, const Partial& split, int64_t row_begin, int64_t row_end,
          int64_t width) {
  const DF d;
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float joined = std::max(total.max[r], split.max[r]);
    const float a = ExpOne(total.max[r] - joined);
    const float b = ExpOne(split.max[r] - joined);
    float* sums = total.sums + r * width;
    const float* add = split.sums + r * width;
    for (int64_t i = 0; i < width; i += static_cast<int64_t>(LaneCount())) {
      const VF old = hn::Mul(hn::LoadU(d, sums + i), hn::Set(d, a));
      hn::StoreU(hn::MulAdd(hn::LoadU(d, add + i), hn::Set(d, b), old), d, sums + i);
    }
    total.weight[r] = total.weight[r] * a + split.weight[r] * b;
    total.max[r] = joined;
  }
}

void PackQueries(const AttentionParams& p, const AttentionTask& task, float* to) {
  for (int64_t i = 0; i < task.num_rows; ++i) {
    const float* from = p.q + (task.first_row + i) * p.q_stride + task.first_q_head * p.kv.head_dim;
    for (int64_t h = 0; h < task.num_heads; ++h) {
      std::copy_n(from + h * p.kv.head_dim, p.kv.head_dim, to);
      to += kQueryStride;
    }
  }
}

void RunSplit(const AttentionParams& p, const SplitRef& now, const float* q, const SplitRef& next,
              const Partial& out) {
  switch (p.kv.element) {
    case KvElement::kF32:
      return SplitRunner<float>(p, now, q, next).Run(out);
    case KvElement::kBF16:
      return SplitRunner<uint16_t>(p, now, q, next).Run(out);
    case KvElement::kE4M3:
      return SplitRunner<E4M3>(p, now, q, next).Run(out);
    case KvElement::kI8:
      return SplitRunner<int8_t>(p, now, q, next).Run(out);
  }
}

void WriteOut(const AttentionParams& p, const AttentionTask& task, const Partial& total) {
  const DF d;
  const int64_t dim = p.kv.head_dim;
  const auto lanes = static_cast<int64_t>(LaneCount());
  for (int64_t r = 0; r < task.num_rows * task.num_heads; ++r) {
    const float* sums = total.sums + r * p.kv.value_stride;
    float* out = p.out + (task.first_row + r / task.num_heads) * p.out_stride +
                 (task.first_q_head + r % task.num_heads) * dim;
    const VF factor = hn::Set(d, 1.0F / total.weight[r]);
    int64_t i = 0;
    for (; i + lanes <= dim; i += lanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, sums + i), factor), d, out + i);
    }
    if (i < dim) {
      StorePartial(hn::Mul(hn::LoadU(d, sums + i), factor), out + i, static_cast<size_t>(dim - i));
    }
  }
}

int64_t SplitsOf(const AttentionParams& p, const AttentionTask& task) {
  const int64_t split_keys = SplitKeys(p.kv);
  return (task.first_position + task.num_rows + split_keys - 1) / split_keys;
}

// The first row that sees anything of a split.
int64_t FirstRow(const AttentionParams& p, const AttentionTask& task, int64_t split) {
  return std::max<int64_t>(0, split * SplitKeys(p.kv) - task.first_position) * task.num_heads;
}

void AttentionTarget(const AttentionParams& p, const AttentionTask& task,
                     const AttentionTask& next_task) {
  constexpr int64_t kFloats = kMaxAttentionRows * (kMaxHeadDim + 2);
  alignas(64) float q[kMaxAttentionRows * kQueryStride];
  alignas(64) float total_memory[kFloats];
  alignas(64) float split_memory[kFloats];
  const int64_t rows = task.num_rows * task.num_heads;
  const Partial total = PartialAt(total_memory, p.kv, rows);
  const Partial part = PartialAt(split_memory, p.kv, rows);
  PackQueries(p, task, q);
  const int64_t splits = SplitsOf(p, task);
  for (int64_t split = 0; split < splits; ++split) {
    const SplitRef next = split + 1 < splits ? SplitRef{&task, split + 1} : SplitRef{&next_task, 0};
    RunSplit(p, {&task, split}, q, next, split == 0 ? total : part);
    if (split > 0) Join(total, part, FirstRow(p, task, split), rows, p.kv.value_stride);
  }
  WriteOut(p, task, total);
}

void PartialTarget(const AttentionParams& p, const AttentionTask& task, int64_t split,
                   const AttentionTask& next_task, int64_t next_split, float* partial) {
  alignas(64) float q[kMaxAttentionRows * kQueryStride];
  PackQueries(p, task, q);
  RunSplit(p, {&task, split}, q, {&next_task, next_split},
           PartialAt(partial, p.kv, task.num_rows * task.num_heads));
}

void JoinTarget(const AttentionParams& p, const AttentionTask& task, float* partials) {
  const int64_t rows = task.num_rows * task.num_heads;
  const Partial total = PartialAt(partials, p.kv, rows);
  const int64_t splits = SplitsOf(p, task);
  for (int64_t split = 1; split < splits; ++split) {
    partials += AttentionPartialFloats(p.kv, rows);
    Join(total, PartialAt(partials, p.kv, rows), FirstRow(p, task, split), rows, p.kv.value_stride);
  }
  WriteOut(p, task, total);
}

int64_t SplitKeysTarget(const KvLayout& kv) { return SplitKeys(kv); }

}  // namespace inferd::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace inferd::kernels {
namespace {
HWY_EXPORT(AttentionTarget);
HWY_EXPORT(PartialTarget);
HWY_EXPORT(JoinTarget);
HWY_EXPORT(SplitKeysTarget);
}  // namespace

int64_t AttentionSplitKeys(const KvLayout& layout) {
  return HWY_DYNAMIC_DISPATCH(SplitKeysTarget)(layout);
}
void Attention(const AttentionParams& p, const AttentionTask& task, const AttentionTask& next) {
  HWY_DYNAMIC_DISPATCH(AttentionTarget)(p, task, next);
}
void AttentionPartial(const AttentionParams& p, const AttentionTask& task, int64_t split,
                      const AttentionTask& next, int64_t next_split, float* partial) {
  HWY_DYNAMIC_DISPATCH(PartialTarget)(p, task, split, next, next_split, partial);
}
void JoinPartials(const AttentionParams& p, const AttentionTask& task, float* partials) {
  HWY_DYNAMIC_DISPATCH(JoinTarget)(p, task, partials);
}

}  // namespace inferd::kernels
#endif  // HWY_ONCE
