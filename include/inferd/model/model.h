#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/model/model_shard.h"
#include "inferd/model/packed_cache.h"
#include "inferd/ops/ops.h"

namespace inferd {

// The largest step a model is asked to run.
struct StepLimits {
  int32_t max_tokens = 0;       // rows of one step
  int32_t max_sample_rows = 0;  // of these, rows whose logits are wanted
  int32_t max_positions = 0;    // tokens of one sequence
};

// The widest row of any op, for Ops::ScratchBytes.
int64_t MaxFeatures(const ModelShard& shard);

// A rank's activations of one step, allocated once. The parts of attention and of
// the MLP share their memory: they are never live together.
class Workspace {
 public:
  static int64_t Bytes(const ModelShard& shard, const StepLimits& limits);
  static StatusOr<Workspace> Create(const ModelShard& shard, const StepLimits& limits,
                                    Allocator& allocator);

  // Views for a step of `rows` rows, f32; capacities are the limits'.
  TensorView Residual(int64_t rows) const;    // [rows, hidden]
  TensorView Normed(int64_t rows) const;      // [rows, hidden]
  TensorView Projected(int64_t rows) const;   // [rows, hidden]
  TensorView Qkv(int64_t rows) const;         // [rows, (hq + 2 hk) * d]
  TensorView Attended(int64_t rows) const;    // [rows, hq * d]
  TensorView GateUp(int64_t rows) const;      // [rows, 2 ffn]
  TensorView Activated(int64_t rows) const;   // [rows, ffn]
  TensorView SampledIn(int64_t rows) const;   // [rows, hq * d], of the sample rows
  TensorView SampledRes(int64_t rows) const;  // [rows, hidden], of the sample rows
  TensorView Logits(int64_t rows) const;      // [rows, vocab]
  // With several ranks in a stage: the logits as they come from rank after rank, and
  // with a grid the part of a hidden state that goes into a block, and the parts that
  // come out of a row's blocks.
  TensorView LogitShares(int64_t rows) const;  // [rows, tokens of a rank], rows of all ranks
  TensorView HiddenShare(int64_t rows) const;  // [rows, hidden / columns]
  TensorView HiddenParts(int64_t rows) const;  // [rows, hidden / columns], rows of all columns
  // With shard_weights, where Qkv is of all heads of the rank's rows: q, k and v of a
  // rank's heads for it, and of this rank's heads of all rows; and what was attended, of
  // this rank's rows, by heads of rank after rank, and whole.
  TensorView HeadShares(int64_t rows) const;      // [rows, (hq + 2 hk) * d]
  TensorView HeadQkv(int64_t rows) const;         // [rows, (hq + 2 hk) * d]
  TensorView AttendedShares(int64_t rows) const;  // [rows, hq * d]
  TensorView AttendedRows(int64_t rows) const;    // [rows, all heads * d]

 private:
  struct Part {
    int64_t offset = 0;  // bytes
    int64_t rows = 0;
    int64_t features = 0;
  };
  struct Layout {
    Part residual, normed, projected, qkv, attended, gate_up, activated, sampled_in, sampled_res,
        logits, logit_shares, hidden_share, hidden_parts, head_shares, head_qkv, attended_shares,
        attended_rows;
    int64_t bytes = 0;
  };
  static Layout Arrange(const ModelShard& shard, const StepLimits& limits);
  TensorView View(const Part& part, int64_t rows) const;

  Layout layout_;
  Buffer memory_;
};

// A rank's part of a loaded model. The rank thread.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelShard& shard() const = 0;
  // Enqueues one step, together with the other ranks: the layers of this stage over the
  // plan's rows, with their keys and values appended to `kv` (one per layer of the
  // stage). Returns the logits of the plan's sample rows, [num_sample_rows, vocab], in
  // the workspace, on every rank of the last stage; an empty view when there are none,
  // and on other stages. Errors of ops stick in `ops` until its Finish; errors of the
  // links are returned, and the model's state is lost then.
  virtual StatusOr<TensorView> Forward(Ops& ops, const StepPlan& plan,
                                       std::span<const KvLayerView> kv,
                                       const Workspace& workspace) = 0;
};

// Packs the rank's part of the weights for `ops`, reading no more of the checkpoint. The
// checkpoint has been checked against the shard (PlanMemory); what the backend borrows
// from it stays mapped for the life of the model, the rest is unmapped. With a cache
// weights that an earlier start kept there are mapped instead, bit for bit the same, and
// if there are none, are kept while the model is in use. `ops` and what `links` points to
// outlive the model.
StatusOr<std::unique_ptr<Model>> LoadModel(const ModelShard& shard, const RankLinks& links,
                                           Checkpoint checkpoint, const StepLimits& limits,
                                           Ops& ops, const PackedCacheOptions& cache = {});
// All of it.
StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config, Checkpoint checkpoint,
                                           const StepLimits& limits, Ops& ops,
                                           const PackedCacheOptions& cache = {});

}  // namespace inferd
