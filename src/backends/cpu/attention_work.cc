#include "backends/cpu/attention_work.h"

#include <algorithm>

namespace inferd {
namespace {

// A key costs its bytes, and its products with each row of the task.
constexpr int64_t kReadCost = 8;
constexpr int64_t kRangesPerThread = 16;

}  // namespace

void AttentionWork::Plan(const HostStepPlan& step, const kernels::AttentionParams& p,
                         int32_t num_q_heads, int threads, float* partials,
                         int64_t partial_floats) {
  step_ = &step;
  params_ = p;
  group_ = num_q_heads / p.kv.num_kv_heads;
  parts_ = (group_ + kernels::kMaxAttentionRows - 1) / kernels::kMaxAttentionRows;
  part_heads_ = (group_ + parts_ - 1) / parts_;
  tile_rows_ = std::max<int64_t>(1, kernels::kMaxAttentionRows / part_heads_);
  heads_ = p.kv.num_kv_heads * parts_;
  split_keys_ = kernels::AttentionSplitKeys(p.kv);
  task_floats_ = kernels::AttentionPartialFloats(p.kv, tile_rows_ * part_heads_);

  sequences_.clear();
  cost_ = 0;
  for (int32_t s = 0; s < step.num_sequences(); ++s) {
    const int64_t rows = step.row_end(s) - step.row_start(s);
    if (rows == 0) continue;
    Sequence sequence{};
    sequence.index = s;
    sequence.tiles = (rows + tile_rows_ - 1) / tile_rows_;
    sequence.splits = 1;
    sequence.unit_cost =
        step.context_len(s) * (kReadCost + std::min(rows, tile_rows_) * part_heads_);
    sequences_.push_back(sequence);
    cost_ += heads_ * sequence.tiles * sequence.unit_cost;
  }

  const int64_t too_long = threads > 1 ? cost_ / (int64_t{threads} * 8) : cost_;
  units_ = 0;
  num_split_tasks_ = 0;
  cost_ = 0;
  for (Sequence& sequence : sequences_) {
    const int64_t tasks = heads_ * sequence.tiles;
    const int64_t splits = (step.context_len(sequence.index) + split_keys_ - 1) / split_keys_;
    const int64_t floats = tasks * splits * task_floats_;
    if (sequence.unit_cost > too_long && splits > 1 && floats <= partial_floats) {
      sequence.splits = splits;
      sequence.unit_cost = (sequence.unit_cost + splits - 1) / splits;
      sequence.partials = partials;
      partials += floats;
      partial_floats -= floats;
    }
    sequence.first_unit = units_;
    sequence.first_cost = cost_;
    sequence.first_split_task = num_split_tasks_;
    units_ += tasks * sequence.splits;
    cost_ += tasks * sequence.splits * sequence.unit_cost;
    if (sequence.partials != nullptr) num_split_tasks_ += tasks;
  }
  num_ranges_ =
      threads > 1 ? std::min(units_, threads * kRangesPerThread) : std::min<int64_t>(units_, 1);
}

kernels::AttentionTask AttentionWork::TaskAt(const Sequence& sequence, int64_t index) const {
  const int32_t s = sequence.index;
  const int64_t head = index / sequence.tiles;
  // Later tiles see more keys: first, so that the short ones fill the gaps.
  const int64_t tile = sequence.tiles - 1 - index % sequence.tiles;
  const int64_t rows = step_->row_end(s) - step_->row_start(s);
  const int64_t first = tile * tile_rows_;
  const int64_t part = head % parts_;
  kernels::AttentionTask task{};
  task.block_table = step_->block_table(s);
  task.first_row = step_->row_start(s) + first;
  task.num_rows = std::min(tile_rows_, rows - first);
  task.first_position = step_->context_len(s) - rows + first;
  task.kv_head = head / parts_;
  task.first_q_head = task.kv_head * group_ + part * part_heads_;
  task.num_heads = std::min(part_heads_, group_ - part * part_heads_);
  return task;
}

int64_t AttentionWork::SplitsOf(const kernels::AttentionTask& task) const {
  return (task.first_position + task.num_rows + split_keys_ - 1) / split_keys_;
}

AttentionWork::Unit AttentionWork::UnitAt(int64_t unit) const {
  const auto next = std::upper_bound(sequences_.begin(), sequences_.end(), unit,
                                     [](int64_t u, const Sequence& s) { return u < s.first_unit; });
  const Sequence& sequence = *(next - 1);
  const int64_t local = unit - sequence.first_unit;
  Unit result{TaskAt(sequence, local / sequence.splits), -1, nullptr};
  if (sequence.partials != nullptr) {
    // The partials of a task lie one after another.
    result.split = local % sequence.splits;
    result.partial = sequence.partials + local / sequence.splits * sequence.splits * task_floats_ +
                     result.split * kernels::AttentionPartialFloats(
                                        params_.kv, result.task.num_rows * result.task.num_heads);
  }
  return result;
}

int64_t AttentionWork::UnitAtCost(int64_t cost) const {
  const auto next = std::upper_bound(sequences_.begin(), sequences_.end(), cost,
                                     [](int64_t c, const Sequence& s) { return c < s.first_cost; });
  const Sequence& sequence = *(next - 1);
  return sequence.first_unit + (cost - sequence.first_cost) / sequence.unit_cost;
}

void AttentionWork::Run(int64_t range) const {
  const int64_t begin = UnitAtCost(cost_ / num_ranges_ * range);
  const int64_t end =
      range + 1 < num_ranges_ ? UnitAtCost(cost_ / num_ranges_ * (range + 1)) : units_;
  if (begin == end) return;
  Unit next = UnitAt(begin);
  for (int64_t i = begin; i < end; ++i) {
    const Unit now = next;
    if (i + 1 < end) next = UnitAt(i + 1);
    if (now.split >= SplitsOf(now.task)) continue;  // of a later tile's only
    // What is fetched meanwhile has to exist.
    const Unit& ahead = next.split < SplitsOf(next.task) ? next : now;
    if (now.split < 0) {
      kernels::Attention(params_, now.task, ahead.task);
    } else {
      kernels::AttentionPartial(params_, now.task, now.split, ahead.task,
                                std::max<int64_t>(0, ahead.split), now.partial);
    }
  }
}

void AttentionWork::Join(int64_t split_task) const {
  auto sequence = sequences_.begin();
  while (sequence->partials == nullptr ||
         split_task - sequence->first_split_task >= heads_ * sequence->tiles) {
    ++sequence;
  }
  const int64_t index = split_task - sequence->first_split_task;
  kernels::JoinPartials(params_, TaskAt(*sequence, index),
                        sequence->partials + index * sequence->splits * task_floats_);
}

}  // namespace inferd
