// A model on one device, behind the Executor contract.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/exec/executor.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model_config.h"
#include "inferd/model/packed_cache.h"
#include "inferd/ops/ops.h"
#include "spdlog/logger.h"

namespace inferd {

struct RankOptions {
  std::filesystem::path model_dir;
  MemoryRequest memory;  // context, batch, block and cache sizes
  PackedCacheOptions packed_cache;
  int max_in_flight = 2;  // plans submitted and not yet awaited
  // Runs one token before the executor is handed out, and refuses a model whose
  // logits are not finite.
  bool warm_up = true;
};

// Facts about a model and what it takes to run it.
struct RankInfo {
  ModelConfig config;
  GenerationDefaults generation;
  std::vector<TokenId> end_tokens;  // of config.json and generation_config.json
  MemoryPlan memory;                // max_model_len, num_blocks, bytes
  int64_t load_us = 0;              // from start to ready; 0 when not loaded
};

// An executor with one rank on a thread of its own. Destruction finishes the
// plan in work, drops the others and joins the thread.
class LocalExecutor : public Executor {
 public:
  virtual const RankInfo& info() const = 0;
};

// Checks the model directory and computes the memory it takes, without loading
// it: what a dry run prints. `logger` may be null.
StatusOr<RankInfo> InspectModel(const RankOptions& options, const Ops& ops,
                                const std::shared_ptr<spdlog::logger>& logger);

// Loads the model on the calling thread, then hands `ops` to the rank thread:
// the caller keeps its backend alive and does not use it again before the
// executor is gone. `logger` may be null.
StatusOr<std::unique_ptr<LocalExecutor>> StartLocalExecutor(const RankOptions& options, Ops& ops,
                                                            const Clock& clock,
                                                            std::shared_ptr<spdlog::logger> logger);

}  // namespace inferd
