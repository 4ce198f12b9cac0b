#include "quantize/layer_pass.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "inferd/model/rope_table.h"
#include "inferd/ops/solo_step.h"

namespace inferd::quantize {
namespace {

constexpr int32_t kBlockSize = 16;  // of the KV cache

WeightFormat FormatOf(DType dtype) {
  if (dtype == DType::kF16) return WeightFormat::kF16;
  return dtype == DType::kBF16 ? WeightFormat::kBF16 : WeightFormat::kF32;
}

}  // namespace

LayerInputs::LayerInputs(const ModelConfig& config, int64_t total_rows)
    : qkv(config.hidden_size, total_rows),
      output(int64_t{config.num_heads} * config.head_dim, total_rows),
      gate_up(config.hidden_size, total_rows),
      down(config.intermediate_size, total_rows) {}

StatusOr<std::unique_ptr<LayerPass>> LayerPass::Create(const ModelConfig& config,
                                                       const Checkpoint& checkpoint,
                                                       int32_t max_tokens, Ops& ops) {
  std::unique_ptr<LayerPass> pass(new LayerPass(config, checkpoint, ops));
  const StepLimits limits{max_tokens, 1, max_tokens};
  INFERD_ASSIGN_OR_RETURN(pass->workspace_,
                          Workspace::Create(WholeModel(config), limits, ops.allocator()));
  const int64_t scratch =
      ops.ScratchBytes(max_tokens, 1, MaxFeatures(WholeModel(config)), config.vocab_size);
  INFERD_ASSIGN_OR_RETURN(pass->scratch_,
                          Buffer::Create(ops.allocator(), static_cast<size_t>(scratch)));
  ops.SetScratch(TensorView(pass->scratch_.data(), DType::kU8, {scratch}));
  const int32_t blocks = (max_tokens + kBlockSize - 1) / kBlockSize;
  const KvLayerSpec spec{config.num_kv_heads, config.head_dim, kBlockSize, DType::kF32};
  const int64_t bytes = ops.KvBytesPerBlock(spec) * (blocks + 1);  // block 0 is padding
  INFERD_ASSIGN_OR_RETURN(pass->cache_,
                          Buffer::Create(ops.allocator(), static_cast<size_t>(bytes)));
  std::memset(pass->cache_.data(), 0, pass->cache_.size());
  pass->kv_ = KvLayerView{pass->cache_.data(), blocks + 1, spec};
  INFERD_ASSIGN_OR_RETURN(pass->rope_, model::MakeRopeTable(config, max_tokens, ops));
  INFERD_ASSIGN_OR_RETURN(const TensorView table, checkpoint.View("model.embed_tokens.weight"));
  INFERD_ASSIGN_OR_RETURN(pass->embedding_, ops.PackEmbedding(table));
  pass->plan_ = ops.MakeStepPlan(max_tokens, 1, blocks);
  return pass;
}

StatusOr<LayerWeights> LayerPass::Load(const std::string& prefix) const {
  const auto vector = [&](const char* name) -> StatusOr<VectorWeight> {
    INFERD_ASSIGN_OR_RETURN(const TensorView data, checkpoint_.View(prefix + name + ".weight"));
    return ops_.PackVector(data);
  };
  const auto linear = [&](std::initializer_list<const char*> names,
                          bool bias) -> StatusOr<LinearWeight> {
    std::vector<RawLinear> parts;
    std::vector<TensorView> biases;
    for (const char* name : names) {
      RawLinear& part = parts.emplace_back();
      INFERD_ASSIGN_OR_RETURN(part.data, checkpoint_.View(prefix + name + ".weight"));
      part.format = FormatOf(part.data.dtype);
      if (!bias) continue;
      INFERD_ASSIGN_OR_RETURN(biases.emplace_back(), checkpoint_.View(prefix + name + ".bias"));
    }
    return ops_.Pack(parts, biases);
  };
  LayerWeights layer;
  INFERD_ASSIGN_OR_RETURN(layer.attention_norm, vector("input_layernorm"));
  INFERD_ASSIGN_OR_RETURN(
      layer.qkv,
      linear({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, config_.qkv_bias));
  if (config_.qk_norm) {
    INFERD_ASSIGN_OR_RETURN(layer.q_norm, vector("self_attn.q_norm"));
    INFERD_ASSIGN_OR_RETURN(layer.k_norm, vector("self_attn.k_norm"));
  }
  INFERD_ASSIGN_OR_RETURN(layer.output, linear({"self_attn.o_proj"}, config_.output_bias));
  INFERD_ASSIGN_OR_RETURN(layer.mlp_norm, vector("post_attention_layernorm"));
  INFERD_ASSIGN_OR_RETURN(layer.gate_up, linear({"mlp.gate_proj", "mlp.up_proj"}, false));
  INFERD_ASSIGN_OR_RETURN(layer.down, linear({"mlp.down_proj"}, false));
  return layer;
}

void LayerPass::Plan(std::span<const TokenId> tokens) {
  ops_.PlanStep(SoloStep(tokens, 0, kBlockSize, {}).inputs(), plan_.get());
}

Status LayerPass::Embed(std::span<const TokenId> tokens, float* hidden) {
  Plan(tokens);
  const auto rows = static_cast<int64_t>(tokens.size());
  ops_.Embed(*plan_, embedding_, TensorView(hidden, DType::kF32, {rows, config_.hidden_size}));
  return ops_.Finish();
}

Status LayerPass::Run(const LayerWeights& layer, std::span<const TokenId> tokens, float* hidden,
                      LayerInputs* inputs) {
  Plan(tokens);
  const auto rows = static_cast<int64_t>(tokens.size());
  const float eps = config_.rms_norm_eps;
  const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  const TensorView x(hidden, DType::kF32, {rows, config_.hidden_size});
  const TensorView normed = workspace_.Normed(rows);
  const TensorView qkv = workspace_.Qkv(rows);
  const TensorView attended = workspace_.Attended(rows);
  const TensorView projected = workspace_.Projected(rows);

  ops_.RmsNorm(x, layer.attention_norm, eps, normed);
  ops_.Linear(normed, layer.qkv, qkv);
  INFERD_RETURN_IF_ERROR(ops_.Finish());
  inputs->qkv.Add(normed.As<float>(), rows);
  if (config_.qk_norm) {
    ops_.HeadRmsNorm(qkv, 0, config_.num_heads, config_.head_dim, layer.q_norm, eps);
    ops_.HeadRmsNorm(qkv, config_.num_heads, config_.num_kv_heads, config_.head_dim, layer.k_norm,
                     eps);
  }
  ops_.RopeAppendKv(*plan_, rope_, qkv, config_.num_heads, kv_);
  ops_.Attention(*plan_, qkv, config_.num_heads, kv_, scale, attended);
  ops_.Linear(attended, layer.output, projected);
  INFERD_RETURN_IF_ERROR(ops_.Finish());
  inputs->output.Add(attended.As<float>(), rows);
  ops_.AddRmsNorm(x, projected, layer.mlp_norm, eps, normed);
  INFERD_RETURN_IF_ERROR(ops_.Finish());
  inputs->gate_up.Add(normed.As<float>(), rows);

  const TensorView gate_up = workspace_.GateUp(rows);
  const TensorView activated = workspace_.Activated(rows);
  ops_.Linear(normed, layer.gate_up, gate_up);
  ops_.SiluMul(gate_up, activated);
  ops_.Linear(activated, layer.down, projected);
  ops_.Add(x, projected);
  INFERD_RETURN_IF_ERROR(ops_.Finish());
  inputs->down.Add(activated.As<float>(), rows);
  for (int64_t i = 0; i < x.NumElements(); ++i) {
    if (!std::isfinite(hidden[i])) {
      return FailedPreconditionError(
          "the model's activations are not finite: its weights are damaged");
    }
  }
  return OkStatus();
}

}  // namespace inferd::quantize
