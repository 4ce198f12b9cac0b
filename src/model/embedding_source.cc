#include "model/embedding_source.h"

#include <utility>

#include "model/linear_source.h"
#include "model/shard_rules.h"
#include "model/tensor_list.h"

namespace inferd::model {

bool HeadIsEmbedding(const ModelShard& shard, const Checkpoint& checkpoint, const Ops& ops) {
  const RankPlace& place = shard.place;
  if (!shard.whole.tie_word_embeddings || !place.first_stage() || !place.last_stage() ||
      place.shape.tp() > 1) {
    return false;
  }
  const StatusOr<TensorView> table = checkpoint.View(kEmbedding);
  return table.ok() && ops.ReadsRows(FormatOf(table->dtype));
}

StatusOr<EmbeddingTable> LoadEmbedding(const ModelShard& shard, const Checkpoint& checkpoint,
                                       const LinearWeight& head, Ops& ops) {
  if (HeadIsEmbedding(shard, checkpoint, ops)) return ops.TableOf(head);
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint.View(kEmbedding));
  if (!ops.SplitsEmbedding() || shard.place.shape.tp() == 1) return ops.PackEmbedding(whole);
  const LinearBlock block = BlockOf(shard, LinearRole::kHead, whole.dim(0), whole.dim(1));
  INFERD_ASSIGN_OR_RETURN(EmbeddingTable part,
                          ops.PackEmbedding(whole.Rows(block.out_begin, block.out_count)));
  part.first_row = block.out_begin;
  part.vocab_size = whole.dim(0);
  return part;
}

}  // namespace inferd::model
