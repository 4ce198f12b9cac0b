// The attention of one step, cut into units that threads can take one by one.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/host/host_step_plan.h"
#include "cpu/attention.h"

namespace inferd {

// Units are ordered by sequence, kv head, tile of rows and split of keys, so that
// neighbours read the same keys. A unit is a whole task, or one split of a task
// that would keep a thread busy while the others wait: a long context among short
// ones, or few sequences for many threads. Which it is changes no bit. Used by one
// rank thread; after Plan, Run and Join may be called by many.
class AttentionWork {
 public:
  // Plan never allocates for up to that many sequences.
  void Reserve(int32_t max_sequences) { sequences_.reserve(max_sequences); }

  // `partials`: memory for the splits, of `partial_floats`; what does not fit stays
  // whole. `step` and `p` outlive the use of this plan.
  void Plan(const HostStepPlan& step, const kernels::AttentionParams& p, int32_t num_q_heads,
            int threads, float* partials, int64_t partial_floats);

  // Ranges of units of about the same cost: first Run each, then Join each task
  // that was split.
  int64_t num_ranges() const { return num_ranges_; }
  void Run(int64_t range) const;
  int64_t num_split_tasks() const { return num_split_tasks_; }
  void Join(int64_t split_task) const;
  // In key reads, each about as much work as a multiply-add per dim of head.
  int64_t cost() const { return cost_; }

 private:
  struct Sequence {
    int32_t index;
    int64_t tiles;       // of its rows
    int64_t splits;      // of the last tile; 1 when tasks stay whole
    int64_t first_unit;  // units: [heads][tiles][splits]
    int64_t first_cost;
    int64_t unit_cost;
    int64_t first_split_task;  // num_split_tasks() before it
    float* partials;           // [heads][tiles][splits], task_floats_ each; null when whole
  };
  // A unit: `split` of -1 is all of the task, and there is none past the last.
  struct Unit {
    kernels::AttentionTask task;
    int64_t split;
    float* partial;
  };
  Unit UnitAt(int64_t unit) const;
  kernels::AttentionTask TaskAt(const Sequence& sequence, int64_t task) const;
  int64_t UnitAtCost(int64_t cost) const;
  int64_t SplitsOf(const kernels::AttentionTask& task) const;

  const HostStepPlan* step_ = nullptr;
  kernels::AttentionParams params_{};
  int64_t group_ = 0;       // q heads of a kv head
  int64_t parts_ = 0;       // a group in parts of at most kMaxAttentionRows
  int64_t part_heads_ = 0;  // the last may have fewer
  int64_t tile_rows_ = 0;
  int64_t heads_ = 0;  // kv heads x parts
  int64_t split_keys_ = 0;
  int64_t task_floats_ = 0;
  int64_t units_ = 0;
  int64_t cost_ = 0;
  int64_t num_ranges_ = 0;
  int64_t num_split_tasks_ = 0;
  std::vector<Sequence> sequences_;  // those with rows
};

}  // namespace inferd
