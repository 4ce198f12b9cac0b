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
#include "model/llama.h"

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "model/packed_cache.h"
#include "model/rope_table.h"
#include "model/tensor_list.h"
#include "model/weight_source.h"

namespace inferd::model {
namespace {

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
  EmbeddingTable embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  VectorWeight final_norm;  // [hidden]
  LinearWeight head;        // [vocab, hidden]
  RopeTable rope;
};

// Weights, and what they are in or being written to.
struct LoadedWeights {
  PackedFile file;
  Weights weights;
  std::unique_ptr<PackedSaver> saver;
};

class Llama final : public Model {
 public:
  Llama(ModelConfig config, Checkpoint checkpoint, LoadedWeights loaded)
      : config_(std::move(config)),
        checkpoint_(std::move(checkpoint)),
        file_(std::move(loaded.file)),
        weights_(std::move(loaded.weights)),
        saver_(std::move(loaded.saver)) {}

  const ModelConfig& config() const override { return config_; }
  TensorView Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                     const Workspace& workspace) const override;

 private:
  ModelConfig config_;
  Checkpoint checkpoint_;  // the embedding may point into it
  PackedFile file_;        // weights_ may point into it
  Weights weights_;
  std::unique_ptr<PackedSaver> saver_;  // reads weights_
};

TensorView Llama::Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                          const Workspace& workspace) const {
  INFERD_CHECK(kv.size() == weights_.layers.size());
  const float eps = config_.rms_norm_eps;
  const int32_t heads = config_.num_heads;
  const int32_t kv_heads = config_.num_kv_heads;
  const int32_t head_dim = config_.head_dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const int64_t samples = plan.num_sample_rows();
  int64_t rows = plan.num_tokens();

  TensorView x = workspace.Residual(rows);
  TensorView normed = workspace.Normed(rows);
  ops.Embed(plan, weights_.embedding, x);
  ops.RmsNorm(x, weights_.layers.front().attention_norm, eps, normed);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    const bool last = i + 1 == weights_.layers.size();

    const TensorView qkv = workspace.Qkv(rows);
    ops.Linear(normed, layer.qkv, qkv);
    if (config_.qk_norm) {
      ops.HeadRmsNorm(qkv, 0, heads, head_dim, layer.q_norm, eps);
      ops.HeadRmsNorm(qkv, heads, kv_heads, head_dim, layer.k_norm, eps);
    }
    ops.RopeAppendKv(plan, weights_.rope, qkv, heads, kv[i]);
    // Past the last keys and values only the sample rows matter.
    if (last && samples == 0) return {};
    TensorView attended = workspace.Attended(rows);
    ops.Attention(plan, qkv, heads, kv[i], scale, attended);
    if (last) {
      rows = samples;
      ops.GatherSampleRows(plan, attended, workspace.SampledIn(rows));
      ops.GatherSampleRows(plan, x, workspace.SampledRes(rows));
      attended = workspace.SampledIn(rows);
      x = workspace.SampledRes(rows);
      normed = workspace.Normed(rows);
    }
    const TensorView projected = workspace.Projected(rows);
    ops.Linear(attended, layer.output, projected);
    ops.AddRmsNorm(x, projected, layer.mlp_norm, eps, normed);

    const TensorView gate_up = workspace.GateUp(rows);
    const TensorView activated = workspace.Activated(rows);
    ops.Linear(normed, layer.gate_up, gate_up);
    ops.SiluMul(gate_up, activated);
    ops.Linear(activated, layer.down, projected);
    const VectorWeight& next_norm =
        last ? weights_.final_norm : weights_.layers[i + 1].attention_norm;
    ops.AddRmsNorm(x, projected, next_norm, eps, normed);
  }
  const TensorView logits = workspace.Logits(samples);
  ops.Linear(normed, weights_.head, logits);
  return logits;
}

// ---- loading ----

StatusOr<LayerWeights> LoadLayer(const ModelConfig& config, const std::string& prefix,
                                 WeightSource& source) {
  LayerWeights layer;
  INFERD_ASSIGN_OR_RETURN(layer.attention_norm, source.Vector(prefix + "input_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(
      layer.qkv, source.Linear(prefix, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                               config.qkv_bias));
  if (config.qk_norm) {
    INFERD_ASSIGN_OR_RETURN(layer.q_norm, source.Vector(prefix + "self_attn.q_norm.weight"));
    INFERD_ASSIGN_OR_RETURN(layer.k_norm, source.Vector(prefix + "self_attn.k_norm.weight"));
  }
  INFERD_ASSIGN_OR_RETURN(layer.output,
                          source.Linear(prefix, {"self_attn.o_proj"}, config.output_bias));
  INFERD_ASSIGN_OR_RETURN(layer.mlp_norm,
                          source.Vector(prefix + "post_attention_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(layer.gate_up,
                          source.Linear(prefix, {"mlp.gate_proj", "mlp.up_proj"}, /*bias=*/false));
  INFERD_ASSIGN_OR_RETURN(layer.down, source.Linear(prefix, {"mlp.down_proj"}, /*bias=*/false));
  return layer;
}

// All that is packed.
StatusOr<Weights> LoadPacked(const ModelConfig& config, WeightSource& source) {
  Weights weights;
  weights.layers.reserve(static_cast<size_t>(config.num_layers));
  for (int32_t i = 0; i < config.num_layers; ++i) {
    INFERD_ASSIGN_OR_RETURN(weights.layers.emplace_back(),
                            LoadLayer(config, LayerPrefix(i), source));
    // The packed copy is what counts now; the peak stays near one copy.
    source.ReleasePages();
  }
  INFERD_ASSIGN_OR_RETURN(weights.final_norm, source.Vector(std::string(kFinalNorm)));
  const std::string_view head = config.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
  INFERD_ASSIGN_OR_RETURN(weights.head, source.Linear("", {head}, /*bias=*/false));
  return weights;
}

StatusOr<LoadedWeights> LoadKeptOrPack(const ModelConfig& config, const Checkpoint& checkpoint,
                                       const PackedCacheOptions& options, Ops& ops) {
  LoadedWeights loaded;
  std::optional<PackedCache> cache;
  const std::string layout = ops.PackedLayout();
  if (!options.directory.empty() && !layout.empty()) {
    INFERD_ASSIGN_OR_RETURN(cache, PackedCache::Create(options, checkpoint, layout));
    loaded.file = cache->Open();
    if (loaded.file.open()) {
      KeptSource kept(loaded.file, ops);
      StatusOr<Weights> weights = LoadPacked(config, kept);
      if (weights.ok()) {
        loaded.weights = std::move(*weights);
        return loaded;
      }
      cache->Reject(weights.status());
      loaded.file = PackedFile();
    }
  }
  PackingSource packing(config.quantization, checkpoint, ops);
  if (!cache) {
    INFERD_ASSIGN_OR_RETURN(loaded.weights, LoadPacked(config, packing));
    return loaded;
  }
  PackedWriter writer;
  NotingSource noting(packing, writer);
  INFERD_ASSIGN_OR_RETURN(loaded.weights, LoadPacked(config, noting));
  loaded.saver = cache->Save(std::move(writer));
  return loaded;
}

}  // namespace

StatusOr<std::unique_ptr<Model>> LoadLlama(const ModelConfig& config, Checkpoint checkpoint,
                                           const StepLimits& limits,
                                           const PackedCacheOptions& cache, Ops& ops) {
  INFERD_ASSIGN_OR_RETURN(LoadedWeights loaded, LoadKeptOrPack(config, checkpoint, cache, ops));
  Weights& weights = loaded.weights;
  INFERD_ASSIGN_OR_RETURN(const TensorView embedding, checkpoint.View(kEmbedding));
  INFERD_ASSIGN_OR_RETURN(weights.embedding, ops.PackEmbedding(embedding));
  INFERD_ASSIGN_OR_RETURN(weights.rope, MakeRopeTable(config, limits.max_positions, ops));
  const bool borrowed = weights.embedding.owned.size() == 0;
  checkpoint.UnmapExcept(borrowed ? weights.embedding.view.data : nullptr);
  checkpoint.ReleasePages();
  return std::unique_ptr<Model>(
      std::make_unique<Llama>(config, std::move(checkpoint), std::move(loaded)));
}

}  // namespace inferd::model
