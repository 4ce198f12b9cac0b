#include "inferd/runtime/rank.h"

#include <algorithm>
#include <utility>

#include "runtime/model_runner.h"
#include "spdlog/spdlog.h"

namespace inferd {
namespace {

struct Inspected {
  RankInfo info;
  Checkpoint checkpoint;
};

StatusOr<Inspected> Inspect(const RankOptions& options, const RankPlace& place, const Ops& ops,
                            spdlog::logger* logger) {
  RankInfo info;
  info.place = place;
  if (options.max_in_flight < 1 || options.max_in_flight > 64) {
    return FailedPreconditionError("max_in_flight: must be in [1, 64]");
  }
  INFERD_RETURN_IF_ERROR(CheckShape(place.shape));
  if (place.shape.ranks() > 1) return UnimplementedError("groups of several ranks");
  INFERD_ASSIGN_OR_RETURN(info.config, LoadModelConfig(options.model_dir));
  INFERD_ASSIGN_OR_RETURN(info.generation,
                          LoadGenerationDefaults(options.model_dir, info.config.vocab_size));
  info.end_tokens = EndTokens(info.config, info.generation);
  INFERD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(options.model_dir));
  std::vector<std::string> notes = info.config.notes;
  INFERD_ASSIGN_OR_RETURN(info.memory,
                          PlanMemory(info.config, checkpoint, ops, options.memory, &notes));
  if (logger != nullptr) {
    for (const std::string& note : notes) logger->warn("model: {}", note);
  }
  return Inspected{std::move(info), std::move(checkpoint)};
}

int64_t MiB(int64_t bytes) { return bytes >> 20; }

}  // namespace

StatusOr<RankInfo> InspectModel(const RankOptions& options, const Ops& ops,
                                const std::shared_ptr<spdlog::logger>& logger) {
  INFERD_ASSIGN_OR_RETURN(std::vector<RankInfo> ranks, PlanGroup(options, {}, ops, logger));
  return std::move(ranks.front());
}

StatusOr<std::vector<RankInfo>> PlanGroup(const RankOptions& options, const ParallelShape& shape,
                                          const Ops& ops,
                                          const std::shared_ptr<spdlog::logger>& logger) {
  std::vector<RankInfo> ranks;
  for (int r = 0; r < shape.ranks(); ++r) {
    INFERD_ASSIGN_OR_RETURN(Inspected inspected,
                            Inspect(options, PlaceOf(shape, r), ops, logger.get()));
    ranks.push_back(std::move(inspected.info));
  }
  return ranks;
}

StatusOr<std::unique_ptr<Rank>> LoadRank(const RankOptions& options, const RankPlace& place,
                                         const RankLinks& links, Ops& ops, const Clock& clock,
                                         const std::shared_ptr<spdlog::logger>& logger) {
  const int64_t start_us = clock.NowUs();
  INFERD_ASSIGN_OR_RETURN(Inspected inspected, Inspect(options, place, ops, logger.get()));
  RankInfo& info = inspected.info;
  const MemoryRequest& request = options.memory;
  const runtime::RankLimits limits{
      .max_running = request.max_running,
      .max_batched_tokens = request.max_batched_tokens,
      .max_model_len = info.memory.max_model_len,
      .block_size = request.block_size,
      .num_blocks = info.memory.num_blocks,
      .vocab_size = info.config.vocab_size,
  };
  const StepLimits step{limits.max_batched_tokens, limits.max_running, limits.max_model_len};
  INFERD_ASSIGN_OR_RETURN(
      std::unique_ptr<Model> model,
      LoadModel(info.config, std::move(inspected.checkpoint), step, ops, options.packed_cache));
  info.load_us = clock.NowUs() - start_us;
  if (logger != nullptr) {
    logger->info(
        "model: {} on {}, {} layers, context {}, weights {} MiB, KV cache {} blocks of {} tokens "
        "({} MiB, {}), loaded in {} ms",
        info.config.architecture, ops.name(), info.config.num_layers, info.memory.max_model_len,
        MiB(info.memory.weight_bytes), info.memory.num_blocks, request.block_size,
        MiB(info.memory.kv_bytes), DTypeName(request.kv_dtype), info.load_us / 1000);
  }
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<runtime::ModelRunner> runner,
                          runtime::ModelRunner::Create(std::move(model), std::move(info), links,
                                                       limits, request.kv_dtype, ops));
  return std::unique_ptr<Rank>(std::move(runner));
}

}  // namespace inferd
