// One rank of a group that runs a model, and groups behind the Executor contract.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/comm/all_reduce_chooser.h"
#include "inferd/comm/device_group.h"
#include "inferd/exec/executor.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model_config.h"
#include "inferd/model/packed_cache.h"
#include "inferd/model/parallel.h"
#include "inferd/ops/ops.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"
#include "spdlog/logger.h"

namespace inferd {

// The same for all ranks of a group.
struct RankOptions {
  std::filesystem::path model_dir;
  // Context, batch, block and cache sizes. With several ranks num_blocks is set, to
  // what PlanGroup says, so that all have the same.
  MemoryRequest memory;
  PackedCacheOptions packed_cache;
  int max_in_flight = 2;  // plans submitted and not yet awaited
  // Runs one token before the executor is handed out, and refuses a model whose
  // logits are not finite.
  bool warm_up = true;
  // Layers of each stage; empty: by their weights (SplitLayers).
  std::vector<int32_t> layer_split;
  // How the ranks of a stage may sum; chosen in WarmUp(), plain without one.
  AllReduceMode all_reduce = AllReduceMode::kAuto;
  DeviceGroupOptions devices;  // of ranks that have a device each
  // For tracking down faults: after each step the ranks of the last stage compare the
  // tokens they drew, and fail unless these are the same.
  bool compare_tokens = false;
};

// Facts about a model and what it takes to run a rank's part of it.
struct RankInfo {
  RankPlace place;
  ModelConfig config;      // of the whole model
  int32_t num_layers = 0;  // of the rank's stage
  GenerationDefaults generation;
  std::vector<TokenId> end_tokens;  // of config.json and generation_config.json
  MemoryPlan memory;                // max_model_len, num_blocks, bytes
  MemoryUse use;                    // of `memory`; as the rank itself says once it is loaded
  DeviceInfo device;                // once it is loaded
  int64_t load_us = 0;              // from start to loaded; 0 when not loaded
};

// One rank: its shard of the weights and its part of the KV cache. One thread, which
// need not be the one that loaded it.
//
// All ranks of a group run the same plans in the same order. Those of a stage draw the
// same tokens, and those of the last stage answer with them; the others' results have no
// outputs. A rank that fails breaks its links, so that no other waits for it for long.
class Rank {
 public:
  virtual ~Rank() = default;

  // Begins a plan, together with the other ranks: all of its work is done, or on its way.
  // At most MaxSteps() may have begun and not ended.
  virtual void Begin(const BatchPlan& plan) = 0;
  // The result of the oldest plan that has begun; waits for it. One with an error is the
  // last: the rank's state is unknown.
  virtual StepResult End() = 0;
  // Whether End would not wait.
  virtual bool IsDone() = 0;
  // How many plans may have begun and not ended: above 1 where a device is kept at work
  // while the host waits for what it drew.
  virtual int MaxSteps() const { return 1; }

  // A short piece of work that makes later plans faster and changes nothing else, for when
  // no plan waits. False: nothing is left to do.
  virtual bool Tend() { return false; }

  // One plan from beginning to end, with no other under way.
  StepResult Run(const BatchPlan& plan) {
    Begin(plan);
    return End();
  }

  // Runs one token through all ranks, to touch every weight once and see that the logits
  // are finite. Before the first plan, by all ranks together; leaves no sequence behind.
  virtual Status WarmUp() = 0;

  virtual const RankInfo& info() const = 0;
};

// Checks the model directory and computes the memory that each rank takes, by
// world_rank, without loading it: what a dry run prints. `memory.available_bytes` and
// `kv_bytes` are those of all ranks together. `ops` is any rank's. `logger` may be null.
StatusOr<std::vector<RankInfo>> PlanGroup(const RankOptions& options, const ParallelShape& shape,
                                          const Ops& ops,
                                          const std::shared_ptr<spdlog::logger>& logger);

// Loads the rank's shard, on its own: nothing is said to other ranks. `ops` and what
// `links` points to outlive the rank and are its alone. `logger` may be null.
StatusOr<std::unique_ptr<Rank>> LoadRank(const RankOptions& options, const RankPlace& place,
                                         const RankLinks& links, Ops& ops, const Clock& clock,
                                         const std::shared_ptr<spdlog::logger>& logger);

// An executor whose ranks are threads of this process. Destruction drops the plans that
// wait, breaks off the one in work unless the rank is alone, and joins the threads.
class LocalExecutor : public Executor {
 public:
  // Of the rank that answers.
  virtual const RankInfo& info() const = 0;
  // Of all ranks, by world_rank.
  virtual std::span<const RankInfo> ranks() const = 0;
};

// PlanGroup for a rank that is alone.
StatusOr<RankInfo> InspectModel(const RankOptions& options, const Ops& ops,
                                const std::shared_ptr<spdlog::logger>& logger);

// Loads the ranks of a group, all at a time, and starts a thread for each. `ops` are
// theirs, by world_rank, and num_blocks is planned here unless it is set: the caller keeps
// the backends alive and does not use them again before the executor is gone. `logger`
// may be null.
StatusOr<std::unique_ptr<LocalExecutor>> StartThreadExecutor(
    const RankOptions& options, const ParallelShape& shape, std::span<Ops* const> ops,
    const Clock& clock, std::shared_ptr<spdlog::logger> logger);

// The same for a rank that is alone.
StatusOr<std::unique_ptr<LocalExecutor>> StartLocalExecutor(const RankOptions& options, Ops& ops,
                                                            const Clock& clock,
                                                            std::shared_ptr<spdlog::logger> logger);

}  // namespace inferd
