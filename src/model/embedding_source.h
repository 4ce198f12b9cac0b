// Where the rows of the embedding come from.
#pragma once

#include <cstdint>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_shard.h"
#include "inferd/ops/ops.h"

namespace inferd::model {

// Whether the rank takes rows of the embedding out of its packed head, which is the same
// matrix, so that there is no other copy of it: with tied weights, where the rank has both ends
// of the model and the ops can. Of several ranks each has a share of the head: then where the
// table is split too (Ops::SplitsEmbedding), which gives each the same rows. The checkpoint has
// been checked.
bool HeadIsEmbedding(const ModelShard& shard, const Checkpoint& checkpoint, const Ops& ops);

// The table of a rank of the first stage: rows of `head` (HeadIsEmbedding), whose memory then
// outlives it; else of the checkpoint, those of the rank's share of the vocabulary where the
// backend wants it so. The loading thread.
StatusOr<EmbeddingTable> LoadEmbedding(const ModelShard& shard, const Checkpoint& checkpoint,
                                       const LinearWeight& head, Ops& ops);

// The bytes in the checkpoint of that table: 0 where it is rows of the head, or the rank is of
// another stage.
int64_t EmbeddingBytes(const ModelShard& shard, const Checkpoint& checkpoint, const Ops& ops);

}  // namespace inferd::model
