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

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "model/linear_source.h"
#include "model/rope_table.h"
#include "model/tensor_list.h"

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

class Llama final : public Model {
 public:
  Llama(ModelConfig config, Checkpoint checkpoint, Weights weights)
      : config_(std::move(config)),
        checkpoint_(std::move(checkpoint)),
        weights_(std::move(weights)) {}

  const ModelConfig& config() const override { return config_; }
  TensorView Forward(Ops& ops, const StepPlan& plan, std::span<const KvLayerView> kv,
                     const Workspace& workspace) const override;

 private:
  ModelConfig config_;
  Checkpoint checkpoint_;  // the embedding may point into it
  Weights weights_;
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

// Packs the tensors of one layer by name.
class Packer {
 public:
  Packer(const Checkpoint& checkpoint, LinearSource& linears, Ops& ops, std::string prefix)
      : checkpoint_(checkpoint), linears_(linears), ops_(ops), prefix_(std::move(prefix)) {}

  // The linear layer <prefix><name> of each name, joined, with <name>.bias if
  // `bias`.
  StatusOr<LinearWeight> Linear(std::initializer_list<std::string_view> names,
                                bool bias = false) const {
    std::vector<SourcedLinear> sourced;  // owns what the parts point to
    std::vector<RawLinear> parts;
    std::vector<TensorView> biases;
    for (const std::string_view name : names) {
      const std::string full = prefix_ + std::string(name);
      INFERD_ASSIGN_OR_RETURN(sourced.emplace_back(), linears_.Load(full));
      parts.push_back(sourced.back().raw);
      if (!ops_.Supports(parts.back().format)) {
        return UnimplementedError("the " + std::string(ops_.name()) + " backend does not take " +
                                  std::string(WeightFormatName(parts.back().format)) + " weights");
      }
      if (!bias) continue;
      INFERD_ASSIGN_OR_RETURN(biases.emplace_back(), checkpoint_.View(full + ".bias"));
    }
    return ops_.Pack(parts, biases);
  }
  StatusOr<VectorWeight> Vector(std::string_view name) const {
    INFERD_ASSIGN_OR_RETURN(const TensorView data, checkpoint_.View(prefix_ + std::string(name)));
    return ops_.PackVector(data);
  }

 private:
  const Checkpoint& checkpoint_;
  LinearSource& linears_;
  Ops& ops_;
  std::string prefix_;
};

StatusOr<LayerWeights> LoadLayer(const ModelConfig& config, const Packer& packer) {
  LayerWeights layer;
  INFERD_ASSIGN_OR_RETURN(layer.attention_norm, packer.Vector("input_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(
      layer.qkv,
      packer.Linear({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, config.qkv_bias));
  if (config.qk_norm) {
    INFERD_ASSIGN_OR_RETURN(layer.q_norm, packer.Vector("self_attn.q_norm.weight"));
    INFERD_ASSIGN_OR_RETURN(layer.k_norm, packer.Vector("self_attn.k_norm.weight"));
  }
  INFERD_ASSIGN_OR_RETURN(layer.output, packer.Linear({"self_attn.o_proj"}, config.output_bias));
  INFERD_ASSIGN_OR_RETURN(layer.mlp_norm, packer.Vector("post_attention_layernorm.weight"));
  INFERD_ASSIGN_OR_RETURN(layer.gate_up, packer.Linear({"mlp.gate_proj", "mlp.up_proj"}));
  INFERD_ASSIGN_OR_RETURN(layer.down, packer.Linear({"mlp.down_proj"}));
  return layer;
}

}  // namespace

StatusOr<std::unique_ptr<Model>> LoadLlama(const ModelConfig& config, Checkpoint checkpoint,
                                           const StepLimits& limits, Ops& ops) {
  Weights weights;
  LinearSource linears(config.quantization, checkpoint);
  weights.layers.reserve(static_cast<size_t>(config.num_layers));
  for (int32_t i = 0; i < config.num_layers; ++i) {
    INFERD_ASSIGN_OR_RETURN(weights.layers.emplace_back(),
                            LoadLayer(config, Packer(checkpoint, linears, ops, LayerPrefix(i))));
    // The packed copy is what counts now; the peak stays near one copy.
    checkpoint.ReleasePages();
  }
  const Packer packer(checkpoint, linears, ops, "");
  INFERD_ASSIGN_OR_RETURN(weights.final_norm, packer.Vector(kFinalNorm));
  const std::string_view head = config.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
  INFERD_ASSIGN_OR_RETURN(weights.head, packer.Linear({head}));
  INFERD_ASSIGN_OR_RETURN(const TensorView embedding, checkpoint.View(kEmbedding));
  INFERD_ASSIGN_OR_RETURN(weights.embedding, ops.PackEmbedding(embedding));
  INFERD_ASSIGN_OR_RETURN(weights.rope, MakeRopeTable(config, limits.max_positions, ops));
  const bool borrowed = weights.embedding.owned.size() == 0;
  checkpoint.UnmapExcept(borrowed ? weights.embedding.view.data : nullptr);
  checkpoint.ReleasePages();
  return std::unique_ptr<Model>(
      std::make_unique<Llama>(config, std::move(checkpoint), std::move(weights)));
}

}  // namespace inferd::model
