#pragma once

#include <memory>

#include "inferd/model/model.h"

namespace inferd::model {

// Llama, Mistral, Qwen2 and Qwen3: see llama.cc.
StatusOr<std::unique_ptr<Model>> LoadLlama(const ModelShard& shard, const RankLinks& links,
                                           Checkpoint checkpoint, const StepLimits& limits,
                                           const PackedCacheOptions& cache, Ops& ops);

}  // namespace inferd::model
