#include "model/tensor_parallel.h"

#include <algorithm>
#include <cstddef>
#include <span>

namespace inferd::model {
namespace {

std::span<std::byte> BytesOf(const TensorView& view) {
  return {view.As<std::byte>(), static_cast<size_t>(view.NumBytes())};
}

}  // namespace

Status TensorParallel::Embed(Ops& ops, const StepPlan& plan, const EmbeddingTable& table,
                             TensorView x) {
  ops.Embed(plan, table, x);
  // A row is on one rank and zeros on the others.
  return table.is_part() ? links_.tp->AllReduce(x) : OkStatus();
}

Status TensorParallel::FromHidden(Ops& ops, TensorView x, const LinearWeight& weight,
                                  TensorView out, const Workspace& workspace) {
  if (links_.row == nullptr) {
    ops.Linear(x, weight, out);
    return OkStatus();
  }
  const TensorView share = workspace.HiddenShare(x.dim(0));
  ops.CopyColumns(x, place_.column() * share.dim(1), share, 0, share.dim(1));
  ops.Linear(share, weight, out);
  return links_.row->AllReduce(out);
}

Status TensorParallel::AddToHidden(Ops& ops, TensorView in, const LinearWeight& weight,
                                   TensorView x, const VectorWeight* norm, float eps,
                                   TensorView normed, const Workspace& workspace) {
  const int64_t rows = x.dim(0);
  const TensorView sum = workspace.Projected(rows);
  if (links_.row != nullptr) {
    const TensorView parts = workspace.HiddenParts(rows * place_.shape.tp_columns);
    const TensorView own = parts.Rows(place_.column() * rows, rows);
    ops.Linear(in, weight, own);
    if (links_.column != nullptr) INFERD_RETURN_IF_ERROR(links_.column->AllReduce(own));
    INFERD_RETURN_IF_ERROR(links_.row->AllGather(BytesOf(own), BytesOf(parts)));
    const int64_t share = parts.dim(1);
    for (int c = 0; c < place_.shape.tp_columns; ++c) {
      ops.CopyColumns(parts.Rows(c * rows, rows), 0, sum, c * share, share);
    }
  } else {
    ops.Linear(in, weight, sum);
    if (sums_ && norm != nullptr) {
      return ops.AllReduceAddRmsNorm(*links_.tp, x, sum, *norm, eps, normed);
    }
    if (sums_) INFERD_RETURN_IF_ERROR(links_.tp->AllReduce(sum));
  }
  if (norm != nullptr) {
    ops.AddRmsNorm(x, sum, *norm, eps, normed);
  } else {
    ops.Add(x, sum);
  }
  return OkStatus();
}

StatusOr<TensorView> TensorParallel::Logits(Ops& ops, TensorView x, const LinearWeight& head,
                                            const Workspace& workspace) {
  const int64_t rows = x.dim(0);
  const TensorView logits = workspace.Logits(rows);
  if (place_.shape.tp() == 1) {
    ops.Linear(x, head, logits);
    return logits;
  }
  const TensorView shares = workspace.LogitShares(rows * place_.shape.tp());
  // Where rank r's columns lie: dense, and fewer than a share on the last rank.
  const auto share_of = [&](int r) {
    TensorView view = shares.Rows(r * rows, rows);
    view.shape[1] = std::min(vocab_share_, logits.dim(1) - r * vocab_share_);
    return view;
  };
  ops.Linear(x, head, share_of(place_.tp_rank));
  INFERD_RETURN_IF_ERROR(
      links_.tp->AllGather(BytesOf(shares.Rows(place_.tp_rank * rows, rows)), BytesOf(shares)));
  for (int r = 0; r < place_.shape.tp(); ++r) {
    const TensorView share = share_of(r);
    ops.CopyColumns(share, 0, logits, r * vocab_share_, share.dim(1));
  }
  return logits;
}

Status TensorParallel::ReceiveHidden(TensorView x) { return links_.previous->Recv(BytesOf(x), 0); }

Status TensorParallel::SendHidden(TensorView x) { return links_.next->Send(BytesOf(x), 1); }

}  // namespace inferd::model
