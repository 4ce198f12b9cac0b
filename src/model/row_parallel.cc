#include "model/row_parallel.h"

#include <span>

namespace inferd::model {
namespace {

std::span<std::byte> BytesOf(const TensorView& view) {
  return {view.As<std::byte>(), static_cast<size_t>(view.NumBytes())};
}

}  // namespace

RowParallel::RowParallel(const ModelShard& shard, const RankLinks& links)
    : ranks_(shard.place.shape.shard_weights ? shard.place.shape.tp() : 1),
      rank_(shard.place.tp_rank),
      head_dim_(shard.whole.head_dim),
      q_(shard.local.num_heads * head_dim_),
      kv_(shard.local.num_kv_heads * head_dim_),
      whole_q_(shard.whole.num_heads * head_dim_),
      whole_kv_(shard.whole.num_kv_heads * head_dim_),
      link_(links.tp) {
  for (int r = 0; r < ranks_; ++r) {
    kv_begin_.push_back(int64_t{r} * shard.whole.num_kv_heads / ranks_ * head_dim_);
  }
}

TensorView RowParallel::Own(Ops& ops, TensorView all, int64_t rows) const {
  if (!shares_rows()) return all;
  const TensorView padding = all.Rows(rows, all.dim(0) - rows);
  if (padding.dim(0) > 0) {
    ops.Fill(padding.As<std::byte>(), 0, static_cast<size_t>(padding.NumBytes()));
  }
  const int64_t share = Share(rows);
  return all.Rows(rank_ * share, share);
}

StatusOr<TensorView> RowParallel::ToHeads(Ops& ops, TensorView own, int64_t rows,
                                          const Workspace& workspace) {
  const int64_t share = own.dim(0);
  const TensorView out = workspace.HeadShares(Padded(rows));
  const TensorView in = workspace.HeadQkv(Padded(rows));
  for (int r = 0; r < ranks_; ++r) {
    const int64_t kv = kv_begin_[static_cast<size_t>(r)];
    const TensorView part = out.Rows(r * share, share);
    ops.CopyColumns(own, r * q_, part, 0, q_);
    ops.CopyColumns(own, whole_q_ + kv, part, q_, kv_);
    ops.CopyColumns(own, whole_q_ + whole_kv_ + kv, part, q_ + kv_, kv_);
  }
  INFERD_RETURN_IF_ERROR(link_->AllToAll(BytesOf(out), BytesOf(in)));
  return in.Rows(0, rows);
}

StatusOr<TensorView> RowParallel::ToRows(Ops& ops, int64_t rows, const Workspace& workspace) {
  const TensorView out = workspace.Attended(Padded(rows));
  const TensorView in = workspace.AttendedShares(Padded(rows));
  (void)Own(ops, out, rows);
  INFERD_RETURN_IF_ERROR(link_->AllToAll(BytesOf(out), BytesOf(in)));
  const int64_t share = Share(rows);
  const TensorView all = workspace.AttendedRows(share);
  for (int r = 0; r < ranks_; ++r) {
    ops.CopyColumns(in.Rows(r * share, share), 0, all, r * q_, q_);
  }
  return all;
}

Status RowParallel::Gather(TensorView own, TensorView all) {
  return link_->AllGather(BytesOf(own), BytesOf(all));
}

}  // namespace inferd::model
