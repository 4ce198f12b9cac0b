#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/model_config.h"
#include "inferd/model/parallel.h"

namespace inferd {

// What one rank holds of a model.
//
// Within a stage query heads, the MLP's inner features and the vocabulary are split
// evenly; KV heads too, or each is held by several ranks where there are fewer. Over
// the columns of a grid the inputs of the layers that begin with the hidden state are
// split as well, and the outputs of those that end in it; heads are not, so the ranks
// of a row hold the same KV cache.
//
// With shard_weights only heads, and so the KV cache, and the vocabulary are split.
struct ModelShard {
  RankPlace place;
  ModelConfig whole;
  // With the heads, KV heads, inner features and layers of this rank.
  ModelConfig local;
  int32_t first_layer = 0;
  int64_t vocab_share = 0;  // tokens whose logits a rank computes, fewer on the last
};

// FAILED_PRECONDITION, naming the sizes, when the model cannot be split so. `layers`: those
// of each stage; by SplitLayers when it is empty.
StatusOr<ModelShard> ShardModel(const ModelConfig& config, const RankPlace& place,
                                std::span<const int32_t> layers = {});

// All of it.
ModelShard WholeModel(const ModelConfig& config);

// Layers of each of `stages` stages, so that the one with most to do has as little as
// possible: by the number of weights, which is what a step of few tokens takes time
// for. The last stage also has the head.
std::vector<int32_t> SplitLayers(const ModelConfig& config, int stages);

}  // namespace inferd
