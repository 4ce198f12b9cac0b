#include "inferd/runtime/rank.h"

#include <malloc.h>

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/model_runner.h"
#include "spdlog/spdlog.h"

namespace inferd {
namespace {

// A model directory, read as far as it takes to plan with it.
struct Inspected {
  ModelConfig config;
  GenerationDefaults generation;
  Checkpoint checkpoint;
};

StatusOr<Inspected> Inspect(const RankOptions& options) {
  if (options.max_in_flight < 1 || options.max_in_flight > 64) {
    return FailedPreconditionError("max_in_flight: must be in [1, 64]");
  }
  INFERD_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(options.model_dir));
  INFERD_ASSIGN_OR_RETURN(GenerationDefaults generation,
                          LoadGenerationDefaults(options.model_dir, config.vocab_size));
  INFERD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(options.model_dir));
  return Inspected{std::move(config), std::move(generation), std::move(checkpoint)};
}

// What the operator wants of a rank, its part of the memory being as large as any other's.
MemoryRequest PartOf(const MemoryRequest& request, const ParallelShape& shape) {
  MemoryRequest part = request;
  part.available_bytes /= shape.ranks();
  return part;
}

StatusOr<RankInfo> PlanRank(const Inspected& inspected, const RankPlace& place, const Ops& ops,
                            const MemoryRequest& request, std::span<const int32_t> layer_split,
                            std::vector<std::string>* notes) {
  RankInfo info;
  info.place = place;
  info.config = inspected.config;
  info.generation = inspected.generation;
  info.end_tokens = EndTokens(inspected.config, inspected.generation);
  INFERD_ASSIGN_OR_RETURN(const ModelShard shard, ShardModel(inspected.config, place, layer_split));
  info.num_layers = shard.local.num_layers;
  INFERD_ASSIGN_OR_RETURN(info.memory,
                          PlanMemory(shard, inspected.checkpoint, ops, request, notes));
  info.use = UseOf(info.memory);
  return info;
}

// All ranks, whose caches have a number of blocks that suits each of them.
StatusOr<std::vector<RankInfo>> PlanRanks(const Inspected& inspected, const ParallelShape& shape,
                                          const Ops& ops, const RankOptions& options,
                                          std::vector<std::string>* notes) {
  MemoryRequest request = options.memory;
  std::vector<RankInfo> ranks;
  const auto plan = [&]() -> Status {
    ranks.clear();
    for (int r = 0; r < shape.ranks(); ++r) {
      notes->clear();  // the same for every rank
      INFERD_ASSIGN_OR_RETURN(ranks.emplace_back(),
                              PlanRank(inspected, PlaceOf(shape, r), ops, PartOf(request, shape),
                                       options.layer_split, notes));
    }
    return OkStatus();
  };
  // The operator's size is of all ranks' caches together.
  const int64_t kv_bytes = request.num_blocks == 0 ? request.kv_bytes : 0;
  if (kv_bytes > 0 && shape.ranks() > 1) request.num_blocks = 2;
  INFERD_RETURN_IF_ERROR(plan());
  if (shape.ranks() == 1) return ranks;
  int32_t blocks = ranks.front().memory.num_blocks;
  int64_t block_bytes = 0;
  for (const RankInfo& rank : ranks) {
    blocks = std::min(blocks, rank.memory.num_blocks);
    block_bytes += rank.memory.kv_bytes_per_block;
  }
  if (kv_bytes > 0) {
    blocks = static_cast<int32_t>(std::clamp<int64_t>(kv_bytes / block_bytes, 1, int64_t{1} << 30));
  }
  request.num_blocks = blocks;
  INFERD_RETURN_IF_ERROR(plan());
  return ranks;
}

void LogNotes(const Inspected& inspected, const std::vector<std::string>& notes,
              spdlog::logger* logger) {
  if (logger == nullptr) return;
  for (const std::string& note : inspected.config.notes) logger->warn("model: {}", note);
  for (const std::string& note : notes) logger->warn("model: {}", note);
}

int64_t MiB(int64_t bytes) { return bytes >> 20; }

// All-reduces are compared with messages up to here; longer ones behave like these.
constexpr int64_t kMaxMeasuredBytes = 16 << 20;

}  // namespace

StatusOr<RankInfo> InspectModel(const RankOptions& options, const Ops& ops,
                                const std::shared_ptr<spdlog::logger>& logger) {
  INFERD_ASSIGN_OR_RETURN(std::vector<RankInfo> ranks, PlanGroup(options, {}, ops, logger));
  return std::move(ranks.front());
}

StatusOr<std::vector<RankInfo>> PlanGroup(const RankOptions& options, const ParallelShape& shape,
                                          const Ops& ops,
                                          const std::shared_ptr<spdlog::logger>& logger) {
  INFERD_RETURN_IF_ERROR(CheckShape(shape));
  INFERD_ASSIGN_OR_RETURN(const Inspected inspected, Inspect(options));
  std::vector<std::string> notes;
  INFERD_ASSIGN_OR_RETURN(std::vector<RankInfo> ranks,
                          PlanRanks(inspected, shape, ops, options, &notes));
  LogNotes(inspected, notes, logger.get());
  return ranks;
}

StatusOr<std::unique_ptr<Rank>> LoadRank(const RankOptions& options, const RankPlace& place,
                                         const RankLinks& links, Ops& ops, const Clock& clock,
                                         const std::shared_ptr<spdlog::logger>& logger) {
  const int64_t start_us = clock.NowUs();
  const bool alone = place.shape.ranks() == 1;
  if (!alone && options.memory.num_blocks == 0) {
    return FailedPreconditionError("num_blocks: must be set for the ranks of a group");
  }
  INFERD_ASSIGN_OR_RETURN(Inspected inspected, Inspect(options));
  std::vector<std::string> notes;
  INFERD_ASSIGN_OR_RETURN(RankInfo info,
                          PlanRank(inspected, place, ops, PartOf(options.memory, place.shape),
                                   options.layer_split, &notes));
  if (alone) LogNotes(inspected, notes, logger.get());  // else PlanGroup did
  INFERD_ASSIGN_OR_RETURN(const ModelShard shard,
                          ShardModel(inspected.config, place, options.layer_split));
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
  const int64_t longest_sum = int64_t{limits.max_batched_tokens} * info.config.hidden_size *
                              static_cast<int64_t>(sizeof(float));
  INFERD_ASSIGN_OR_RETURN(
      runtime::SumLinks sums,
      runtime::SumLinks::Create(links, options.all_reduce, std::min(longest_sum, kMaxMeasuredBytes),
                                options.devices, ops, clock, logger));
  RankLinks timed = sums.links();
  std::unique_ptr<runtime::PipelineLinks> pipeline;
  // A device sends by itself, and what is only enqueued takes no time that could be told
  // from computing.
  if (place.shape.pp > 1 && !sums.on_devices()) {
    pipeline = std::make_unique<runtime::PipelineLinks>(links, clock);
    timed.previous = pipeline->previous();
    timed.next = pipeline->next();
  }
  const int64_t elsewhere = sums.memory() != nullptr ? info.memory.workspace_bytes : 0;
  INFERD_RETURN_IF_ERROR(ops.Reserve(info.memory.total_bytes - elsewhere));
  INFERD_ASSIGN_OR_RETURN(
      std::unique_ptr<Model> model,
      LoadModel(shard, timed, std::move(inspected.checkpoint), step, ops, options.packed_cache));
  malloc_trim(0);  // what loading left behind is not to lie beside workspace and KV cache
  info.load_us = clock.NowUs() - start_us;
  if (logger != nullptr) {
    const std::string rank = alone ? ""
                                   : ", rank " + std::to_string(place.world_rank()) + " (" +
                                         ShapeText(place.shape) + ")";
    logger->info(
        "model: {} on {}{}, {} layers, context {}, weights {} MiB, KV cache {} blocks of {} tokens "
        "({} MiB, {}), loaded in {} ms",
        info.config.architecture, ops.name(), rank, info.num_layers, info.memory.max_model_len,
        MiB(info.memory.weight_bytes), info.memory.num_blocks, request.block_size,
        MiB(info.memory.kv_bytes), DTypeName(request.kv_dtype), info.load_us / 1000);
  }
  INFERD_ASSIGN_OR_RETURN(
      std::unique_ptr<runtime::ModelRunner> runner,
      runtime::ModelRunner::Create(std::move(model), std::move(info), links, limits,
                                   {request.kv_dtype, options.compare_tokens}, ops, clock,
                                   std::move(sums), std::move(pipeline)));
  return std::unique_ptr<Rank>(std::move(runner));
}

}  // namespace inferd
