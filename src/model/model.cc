#include "inferd/model/model.h"

#include "model/llama.h"

namespace inferd {

// Every architecture a ModelConfig can name is of the Llama family so far.
StatusOr<std::unique_ptr<Model>> LoadModel(const ModelShard& shard, const RankLinks& links,
                                           Checkpoint checkpoint, const StepLimits& limits,
                                           Ops& ops, const PackedCacheOptions& cache) {
  return model::LoadLlama(shard, links, std::move(checkpoint), limits, cache, ops);
}

StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config, Checkpoint checkpoint,
                                           const StepLimits& limits, Ops& ops,
                                           const PackedCacheOptions& cache) {
  return LoadModel(WholeModel(config), {}, std::move(checkpoint), limits, ops, cache);
}

}  // namespace inferd
