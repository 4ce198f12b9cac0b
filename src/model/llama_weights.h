#pragma once

#include <memory>
#include <vector>

#include "inferd/model/model_shard.h"
#include "inferd/model/packed_cache.h"
#include "inferd/model/parallel.h"
#include "inferd/ops/ops.h"
#include "model/layer_source.h"
#include "model/packed_cache.h"
#include "model/rope_table.h"

namespace inferd::model {

// The sizes are the rank's.
struct LayerWeights {
  VectorWeight attention_norm;  // [hidden]
  LinearWeight qkv;             // [(hq + 2 hk) * d, hidden]
  VectorWeight q_norm;          // [d], with qk_norm
  VectorWeight k_norm;          // [d], with qk_norm
  LinearWeight output;          // [hidden, hq * d]
  VectorWeight mlp_norm;        // [hidden]
  LinearWeight gate_up;         // [2 ffn, hidden]
  LinearWeight down;            // [hidden, ffn]
};

struct Weights {
  EmbeddingTable embedding;  // [vocab, hidden]; on the first stage; may refer to the head
  std::vector<LayerWeights> layers;
  VectorWeight final_norm;  // [hidden]; on the last stage, and so the head
  LinearWeight head;        // [vocab, hidden]
  RopeTable rope;
};

// Weights, and what they are in or being written to.
struct LoadedWeights {
  PackedFile file;
  std::vector<Buffer> places;
  Weights weights;
  std::unique_ptr<PackedSaver> saver;
  std::unique_ptr<LayerSource> source;  // null: all in memory
};

// A rank's weights: packed now, as `cache` and the links say, or kept from another start. The
// rope table is not among them.
StatusOr<LoadedWeights> LoadLlamaWeights(const ModelShard& shard, const RankLinks& links,
                                         const Checkpoint& checkpoint,
                                         const PackedCacheOptions& cache, Ops& ops);

}  // namespace inferd::model
