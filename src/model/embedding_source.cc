#include "model/embedding_source.h"

#include <utility>

#include "model/linear_source.h"
#include "model/shard_rules.h"
#include "model/tensor_list.h"

namespace inferd::model {
namespace {

bool IsSplit(const ModelShard& shard, const Ops& ops) {
  return ops.SplitsEmbedding() && shard.place.shape.tp() > 1;
}

// Of a split table, those of the rank.
LinearBlock RowsOf(const ModelShard& shard, const TensorView& whole) {
  return BlockOf(shard, LinearRole::kHead, whole.dim(0), whole.dim(1));
}

}  // namespace

bool HeadIsEmbedding(const ModelShard& shard, const Checkpoint& checkpoint, const Ops& ops) {
  const RankPlace& place = shard.place;
  if (!shard.whole.tie_word_embeddings || !place.first_stage() || !place.last_stage()) {
    return false;
  }
  if (place.shape.tp() > 1 && !IsSplit(shard, ops)) return false;
  const StatusOr<TensorView> table = checkpoint.View(kEmbedding);
  return table.ok() && ops.ReadsRows(FormatOf(table->dtype));
}

int64_t EmbeddingBytes(const ModelShard& shard, const Checkpoint& checkpoint, const Ops& ops) {
  if (!shard.place.first_stage() || HeadIsEmbedding(shard, checkpoint, ops)) return 0;
  const StatusOr<TensorView> whole = checkpoint.View(kEmbedding);
  if (!whole.ok()) return 0;
  if (!IsSplit(shard, ops)) return whole->NumBytes();
  return whole->NumBytes() / whole->dim(0) * RowsOf(shard, *whole).out_count;
}

StatusOr<EmbeddingTable> LoadEmbedding(const ModelShard& shard, const Checkpoint& checkpoint,
                                       const LinearWeight& head, Ops& ops) {
  const bool of_head = HeadIsEmbedding(shard, checkpoint, ops);
  if (of_head && !IsSplit(shard, ops)) return ops.TableOf(head);
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint.View(kEmbedding));
  if (!IsSplit(shard, ops)) return ops.PackEmbedding(whole);
  const LinearBlock block = RowsOf(shard, whole);
  INFERD_ASSIGN_OR_RETURN(EmbeddingTable part, of_head ? ops.TableOf(head)
                                                       : ops.PackEmbedding(whole.Rows(
                                                             block.out_begin, block.out_count)));
  part.first_row = block.out_begin;
  part.vocab_size = whole.dim(0);
  return part;
}

}  // namespace inferd::model
