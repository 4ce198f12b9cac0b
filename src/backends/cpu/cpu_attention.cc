#include <algorithm>

#include "backends/cpu/cpu_ops.h"
#include "backends/host/tensor_checks.h"
#include "cpu/rope.h"

namespace inferd {
namespace {

kernels::KvLayout LayoutOf(const KvLayerSpec& spec) {
  INFERD_CHECK(spec.head_dim >= 1 && spec.head_dim <= kernels::kMaxHeadDim);
  INFERD_CHECK(spec.block_size >= 1 && spec.block_size <= kernels::kMaxBlockSize);
  return kernels::MakeKvLayout(
      spec.dtype == DType::kBF16 ? kernels::Element::kBF16 : kernels::Element::kF32,
      spec.num_kv_heads, spec.head_dim, spec.block_size);
}

// A group of q heads in parts of at most kMaxAttentionRows.
struct GroupParts {
  int64_t count;
  int64_t heads;  // of a part; the last may have fewer
};
GroupParts PartsOf(int64_t group) {
  const int64_t count = (group + kernels::kMaxAttentionRows - 1) / kernels::kMaxAttentionRows;
  return {count, (group + count - 1) / count};
}

}  // namespace

int64_t CpuOps::KvBytesPerBlock(const KvLayerSpec& spec) const {
  return LayoutOf(spec).block_bytes;
}

void CpuOps::StoreRows(const HostStepPlan& step, const RopeTable* table, TensorView qkv,
                       int32_t num_q_heads, const KvLayerView& kv, int64_t begin,
                       int64_t end) const {
  const kernels::KvLayout layout = LayoutOf(kv.spec);
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

void CpuOps::Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads,
                       const KvLayerView& kv, float scale, TensorView out) {
  const auto& step = static_cast<const HostStepPlan&>(plan);
  CheckQkv(step, qkv, num_q_heads, kv);
  CheckRows(out, step.num_tokens(), int64_t{num_q_heads} * kv.spec.head_dim);
  const kernels::AttentionParams p{
      LayoutOf(kv.spec), kv.data, qkv.As<float>(), qkv.dim(1), out.As<float>(), out.dim(1), scale};
  if (AttendSplits(step, p, num_q_heads)) return;

  // Tasks: sequence by sequence, kv head by kv head, tile of rows by tile, so
  // that neighbouring tasks read the same keys.
  const int64_t kv_heads = kv.spec.num_kv_heads;
  const GroupParts parts = PartsOf(num_q_heads / kv_heads);
  const int64_t tile_rows = std::max<int64_t>(1, kernels::kMaxAttentionRows / parts.heads);
  const int64_t per_tile = kv_heads * parts.count;
  tile_start_.clear();
  int64_t tiles = 0;
  int64_t work = 0;
  for (int32_t s = 0; s < step.num_sequences(); ++s) {
    const int64_t rows = step.row_end(s) - step.row_start(s);
    tile_start_.push_back(static_cast<int32_t>(tiles));
    tiles += (rows + tile_rows - 1) / tile_rows;
    work += rows * step.context_len(s);
  }
  tile_start_.push_back(static_cast<int32_t>(tiles));
  const int64_t tasks = tiles * per_tile;
  if (tasks == 0) return;
  const auto run = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const auto next = std::upper_bound(tile_start_.begin(), tile_start_.end(), i / per_tile);
      const auto s = static_cast<int32_t>(next - tile_start_.begin() - 1);
      const int64_t sequence_tiles = tile_start_[s + 1] - tile_start_[s];
      const int64_t local = i - tile_start_[s] * per_tile;
      const int64_t head_part = local / sequence_tiles;
      // Later tiles see more keys: first, so that the short ones fill the gaps.
      const int64_t tile = sequence_tiles - 1 - local % sequence_tiles;
      const int64_t rows = step.row_end(s) - step.row_start(s);
      const int64_t first = tile * tile_rows;
      const int64_t part = head_part % parts.count;
      const int64_t group = num_q_heads / kv_heads;
      kernels::AttentionTask task{};
      task.block_table = step.block_table(s);
      task.first_row = step.row_start(s) + first;
      task.num_rows = std::min(tile_rows, rows - first);
      task.first_position = step.context_len(s) - rows + first;
      task.kv_head = head_part / parts.count;
      task.first_q_head = task.kv_head * group + part * parts.heads;
      task.num_heads = std::min(parts.heads, group - part * parts.heads);
      kernels::Attention(p, task);
    }
  };
  const int64_t cost = work * num_q_heads * kv.spec.head_dim / 8 / tasks + 1;
  if (tasks * cost < 16384) {
    run(0, tasks, 0);
  } else {
    pool_.ParallelFor(tasks, std::max<int64_t>(1, tasks / (pool_.threads() * 16)), run);
  }
}

bool CpuOps::AttendSplits(const HostStepPlan& step, const kernels::AttentionParams& p,
                          int32_t num_q_heads) {
  // Worth it only for steps of few single rows over long contexts.
  const int64_t sequences = step.num_sequences();
  const GroupParts parts = PartsOf(num_q_heads / p.kv.num_kv_heads);
  const int64_t per_sequence = p.kv.num_kv_heads * parts.count;
  if (sequences == 0 || step.num_tokens() != sequences ||
      sequences * per_sequence >= int64_t{4} * pool_.threads()) {
    return false;
  }
  const int64_t split_keys = kernels::AttentionSplitKeys(p.kv);
  int64_t most_splits = 0;
  for (int32_t s = 0; s < sequences; ++s) {
    if (step.row_end(s) - step.row_start(s) != 1) return false;
    most_splits = std::max(most_splits, (step.context_len(s) + split_keys - 1) / split_keys);
  }
  const int64_t task_floats = parts.heads * kernels::AttentionPartialFloats(p.kv);
  const int64_t heads = sequences * per_sequence;
  const auto needed = heads * most_splits * task_floats * static_cast<int64_t>(sizeof(float));
  if (most_splits < 2 || scratch_.empty() || needed > scratch_.NumBytes()) return false;

  const int64_t group = num_q_heads / p.kv.num_kv_heads;
  const auto task_of = [&](int64_t i) {
    const auto s = static_cast<int32_t>(i / per_sequence);
    const int64_t head_part = i % per_sequence;
    const int64_t part = head_part % parts.count;
    kernels::AttentionTask task{};
    task.block_table = step.block_table(s);
    task.first_row = step.row_start(s);
    task.num_rows = 1;
    task.first_position = step.context_len(s) - 1;
    task.kv_head = head_part / parts.count;
    task.first_q_head = task.kv_head * group + part * parts.heads;
    task.num_heads = std::min(parts.heads, group - part * parts.heads);
    return task;
  };
  const auto splits_of = [&](const kernels::AttentionTask& task) {
    return task.first_position / split_keys + 1;
  };
  auto* partials = scratch_.As<float>();
  pool_.ParallelFor(heads * most_splits, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const kernels::AttentionTask task = task_of(i / most_splits);
      const int64_t split = i % most_splits;
      if (split >= splits_of(task)) continue;
      // Partials of a task lie by split, each of the task's own number of heads.
      float* to = partials + i / most_splits * most_splits * task_floats +
                  split * task.num_heads * kernels::AttentionPartialFloats(p.kv);
      kernels::AttentionPartial(p, task, split, to);
    }
  });
  for (int64_t i = 0; i < heads; ++i) {
    const kernels::AttentionTask task = task_of(i);
    kernels::JoinPartials(p, task, partials + i * most_splits * task_floats, splits_of(task));
  }
  return true;
}

}  // namespace inferd
