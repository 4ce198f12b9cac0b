#pragma once

#include <cstdint>

#include "inferd/base/status.h"
#include "inferd/model/model.h"
#include "inferd/model/model_shard.h"
#include "inferd/ops/ops.h"

namespace inferd::model {

// The steps of a model that concern more than one rank: linear layers whose weights are
// split over the ranks of a stage, and the hidden state on its way from stage to stage.
// With one rank they are the ops and nothing else. The rank thread.
//
// The hidden state is whole on every rank of a stage, with the same bits. With
// shard_weights, where layers are whole, it is so of the rank's rows (RowParallel).
class TensorParallel {
 public:
  TensorParallel(const ModelShard& shard, const RankLinks& links)
      : place_(shard.place),
        sums_(links.tp != nullptr && !shard.place.shape.shard_weights),
        vocab_share_(shard.vocab_share),
        links_(links) {}

  // x := the tokens' rows of the table, which may be split by rows.  x [rows, hidden]
  Status Embed(Ops& ops, const StepPlan& plan, const EmbeddingTable& table, TensorView x);
  // out := the outputs of this rank's row of x W^T.       x [rows, hidden], out [rows, n]
  Status FromHidden(Ops& ops, TensorView x, const LinearWeight& weight, TensorView out,
                    const Workspace& workspace);
  // x += in W^T, of all ranks' parts of `in`; then normed := RmsNorm(x), with a norm.
  Status AddToHidden(Ops& ops, TensorView in, const LinearWeight& weight, TensorView x,
                     const VectorWeight* norm, float eps, TensorView normed,
                     const Workspace& workspace);
  // The logits of all tokens, on every rank.                          x [samples, hidden]
  StatusOr<TensorView> Logits(Ops& ops, TensorView x, const LinearWeight& head,
                              const Workspace& workspace);

  // From the stage before, and to the next.
  Status ReceiveHidden(TensorView x);
  Status SendHidden(TensorView x);

 private:
  const RankPlace place_;
  const bool sums_;            // what ends in the hidden state is a part of a sum
  const int64_t vocab_share_;  // tokens of a rank, but the last
  const RankLinks links_;
};

}  // namespace inferd::model
