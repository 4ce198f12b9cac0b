#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/model.h"
#include "inferd/model/model_shard.h"
#include "inferd/ops/ops.h"

namespace inferd::model {

// The steps of a model whose ranks share the rows of a step, where each has whole layers
// (ParallelShape::shard_weights): linear layers and norms over a rank's own rows, attention
// over all rows of its own heads. Every rank has as many rows as any other; those beyond
// the step's are padding. Otherwise all rows are its own. The rank thread.
//
// A row passes through the same ops as on a rank that is alone, so results are the same to
// the bit.
class RowParallel {
 public:
  RowParallel(const ModelShard& shard, const RankLinks& links);

  bool shares_rows() const { return ranks_ > 1; }
  // Rows of one rank of a step of `rows`, and of all.
  int64_t Share(int64_t rows) const { return (rows + ranks_ - 1) / ranks_; }
  int64_t Padded(int64_t rows) const { return Share(rows) * ranks_; }
  // This rank's rows of `all`, which are padded; padding is set to zero.
  TensorView Own(Ops& ops, TensorView all, int64_t rows) const;

  // The rank's heads of all rows: q, k and v.              own [share, all heads]
  StatusOr<TensorView> ToHeads(Ops& ops, TensorView own, int64_t rows, const Workspace& workspace);
  // All heads of the rank's rows; of those in Workspace::Attended its own heads of `rows`
  // rows.                                                  returns [share, all q features]
  StatusOr<TensorView> ToRows(Ops& ops, int64_t rows, const Workspace& workspace);
  // all := all ranks' rows.                                own [share, n], all padded
  Status Gather(TensorView own, TensorView all);

 private:
  const int ranks_;
  const int rank_;
  const int64_t head_dim_;
  const int64_t q_;                // features of a rank's query heads
  const int64_t kv_;               // of its keys
  const int64_t whole_q_;          // of all query heads
  const int64_t whole_kv_;         // of all keys
  std::vector<int64_t> kv_begin_;  // feature where a rank's keys begin, by rank
  Communicator* const link_;
};

}  // namespace inferd::model
