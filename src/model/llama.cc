// The Llama family of decoder-only transformers.
//
//   x = embed(tokens)
//   for each layer:
//     x += O(attention(rope(Q(norm(x))), rope(K(norm(x))), V(norm(x))))
//     x += Down(silu(Gate(norm(x))) * Up(norm(x)))
//   logits = Head(norm(x))
//
// Mistral is the same; Qwen2 has biases on q, k and v; Qwen3 normalises each q
// and k head before rope. Q, K, V and Gate, Up are one matrix each.
//
// A rank has the layers of its stage, and of each its share of the heads and of the inner
// features; TensorParallel says where the ranks of a stage put their parts together.
#include "model/llama.h"

#include <cmath>
#include <utility>
#include <vector>

#include "model/llama_weights.h"
#include "model/row_parallel.h"
#include "model/tensor_parallel.h"

namespace inferd::model {
namespace {

// A layer that is in memory meanwhile.
class LayerInUse {
 public:
  LayerInUse(LayerSource* source, size_t layer) : source_(source), layer_(layer) {
    if (source_ != nullptr) status_ = source_->Use(layer_);
  }
  ~LayerInUse() {
    if (source_ != nullptr) source_->Release(layer_);
  }
  LayerInUse(const LayerInUse&) = delete;
  LayerInUse& operator=(const LayerInUse&) = delete;

  const Status& status() const { return status_; }

 private:
  LayerSource* const source_;
  const size_t layer_;
  Status status_;
};

class Llama final : public Model {
 public:
  Llama(ModelShard shard, const RankLinks& links, Checkpoint checkpoint, LoadedWeights loaded)
      : shard_(std::move(shard)),
        parallel_(shard_, links),
        shared_rows_(shard_, links),
        checkpoint_(std::move(checkpoint)),
        file_(std::move(loaded.file)),
        places_(std::move(loaded.places)),
        weights_(std::move(loaded.weights)),
        saver_(std::move(loaded.saver)),
        source_(std::move(loaded.source)) {
    EmbeddingTable& table = weights_.embedding;
    if (!table.packed && table.owned.size() == 0) table.files = &checkpoint_;
  }

  const ModelShard& shard() const override { return shard_; }
  StatusOr<TensorView> Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                               const Workspace& workspace) override;

 private:
  const ModelShard shard_;
  TensorParallel parallel_;
  RowParallel shared_rows_;
  Checkpoint checkpoint_;       // the embedding may point into it
  PackedFile file_;             // weights_ may point into it
  std::vector<Buffer> places_;  // or into these
  Weights weights_;
  std::unique_ptr<PackedSaver> saver_;   // reads weights_
  std::unique_ptr<LayerSource> source_;  // fills file_ or places_; null: all is in memory
};

StatusOr<TensorView> Llama::Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                                    const Workspace& workspace) {
  INFERD_CHECK(kv.size() == weights_.layers.size());
  const ModelConfig& config = shard_.local;
  const bool last_stage = shard_.place.last_stage();
  const float eps = config.rms_norm_eps;
  const int32_t heads = config.num_heads;
  const int32_t head_dim = config.head_dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const int64_t samples = plan.num_sample_rows();
  const int64_t tokens = plan.num_tokens();
  const bool shares_rows = shared_rows_.shares_rows();
  // Linear layers and norms compute the rank's own rows.
  const ModelConfig& linear = shares_rows ? shard_.whole : config;
  int64_t rows = shared_rows_.Share(tokens);

  const TensorView all = workspace.Residual(shared_rows_.Padded(tokens));
  TensorView x = shared_rows_.Own(ops, all, tokens);
  TensorView normed = workspace.Normed(rows);
  if (shard_.place.first_stage()) {
    INFERD_RETURN_IF_ERROR(
        parallel_.Embed(ops, plan, weights_.embedding, workspace.Residual(tokens)));
  } else {
    INFERD_RETURN_IF_ERROR(parallel_.ReceiveHidden(x));
  }
  ops.RmsNorm(x, weights_.layers.front().attention_norm, eps, normed);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    const bool ends_stage = i + 1 == weights_.layers.size();
    const bool last = last_stage && ends_stage;
    ops.BeginLayer(static_cast<int32_t>(i));
    const LayerInUse in_use(source_.get(), i);
    INFERD_RETURN_IF_ERROR(in_use.status());

    TensorView qkv = workspace.Qkv(rows);
    INFERD_RETURN_IF_ERROR(parallel_.FromHidden(ops, normed, layer.qkv, qkv, workspace));
    if (config.qk_norm) {
      ops.HeadRmsNorm(qkv, 0, linear.num_heads, head_dim, layer.q_norm, eps);
      ops.HeadRmsNorm(qkv, linear.num_heads, linear.num_kv_heads, head_dim, layer.k_norm, eps);
    }
    if (shares_rows) {
      INFERD_ASSIGN_OR_RETURN(qkv, shared_rows_.ToHeads(ops, qkv, tokens, workspace));
    }
    ops.RopeAppendKv(plan, weights_.rope, qkv, heads, kv[i]);
    // Past the last keys and values only the sample rows matter.
    if (last && samples == 0) return TensorView();
    TensorView attended = workspace.Attended(tokens);
    ops.Attention(plan, qkv, heads, kv[i], scale, attended);
    if (shares_rows) {
      INFERD_ASSIGN_OR_RETURN(attended, shared_rows_.ToRows(ops, tokens, workspace));
    } else if (last) {
      rows = samples;
      ops.GatherSampleRows(plan, attended, workspace.SampledIn(rows));
      ops.GatherSampleRows(plan, x, workspace.SampledRes(rows));
      attended = workspace.SampledIn(rows);
      x = workspace.SampledRes(rows);
      normed = workspace.Normed(rows);
    }
    INFERD_RETURN_IF_ERROR(parallel_.AddToHidden(ops, attended, layer.output, x, &layer.mlp_norm,
                                                 eps, normed, workspace));

    const TensorView gate_up = workspace.GateUp(rows);
    const TensorView activated = workspace.Activated(rows);
    INFERD_RETURN_IF_ERROR(parallel_.FromHidden(ops, normed, layer.gate_up, gate_up, workspace));
    ops.SiluMul(gate_up, activated);
    const VectorWeight* next_norm = last         ? &weights_.final_norm
                                    : ends_stage ? nullptr  // the next stage's
                                                 : &weights_.layers[i + 1].attention_norm;
    INFERD_RETURN_IF_ERROR(
        parallel_.AddToHidden(ops, activated, layer.down, x, next_norm, eps, normed, workspace));
  }
  if (last_stage && shares_rows) {
    INFERD_RETURN_IF_ERROR(shared_rows_.Gather(normed, all));
    normed = workspace.SampledRes(samples);
    ops.GatherSampleRows(plan, workspace.Residual(tokens), normed);
  }
  if (last_stage) return parallel_.Logits(ops, normed, weights_.head, workspace);
  INFERD_RETURN_IF_ERROR(parallel_.SendHidden(x));
  return TensorView();
}

}  // namespace

StatusOr<std::unique_ptr<Model>> LoadLlama(const ModelShard& shard, const RankLinks& links,
                                           Checkpoint checkpoint, const StepLimits& limits,
                                           const PackedCacheOptions& cache, Ops& ops) {
  // What was looked at to plan is not needed in memory.
  if (ops.ReadsFiles()) checkpoint.ReleasePages();
  ops.SetFiles(&checkpoint);
  StatusOr<LoadedWeights> weights_or = LoadLlamaWeights(shard, links, checkpoint, cache, ops);
  ops.SetFiles(nullptr);
  INFERD_ASSIGN_OR_RETURN(LoadedWeights loaded, std::move(weights_or));
  Weights& weights = loaded.weights;
  INFERD_ASSIGN_OR_RETURN(weights.rope, MakeRopeTable(shard.whole, limits.max_positions, ops));
  const bool borrowed = weights.embedding.owned.size() == 0;
  checkpoint.UnmapExcept(borrowed ? weights.embedding.view.data : nullptr);
  checkpoint.ReleasePages();
  return std::unique_ptr<Model>(
      std::make_unique<Llama>(shard, links, std::move(checkpoint), std::move(loaded)));
}

}  // namespace inferd::model
