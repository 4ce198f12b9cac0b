// Runs a model one decoder layer at a time, so that only one layer's weights are
// in memory, and looks at what goes into its linear layers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "inferd/base/ids.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model.h"
#include "inferd/ops/ops.h"
#include "quantize/input_sample.h"

namespace inferd::quantize {

// A decoder layer as the ops take it.
struct LayerWeights {
  VectorWeight attention_norm;
  LinearWeight qkv;
  VectorWeight q_norm;  // with qk_norm
  VectorWeight k_norm;
  LinearWeight output;
  VectorWeight mlp_norm;
  LinearWeight gate_up;
  LinearWeight down;
};

// What goes into the linear layers of a decoder layer.
struct LayerInputs {
  LayerInputs(const ModelConfig& config, int64_t total_rows);
  InputSample qkv;
  InputSample output;
  InputSample gate_up;
  InputSample down;
};

// One thread; `ops`, whose scratch memory this takes over, and `checkpoint`
// outlive it.
class LayerPass {
 public:
  // Sequences have at most `max_tokens` tokens.
  static StatusOr<std::unique_ptr<LayerPass>> Create(const ModelConfig& config,
                                                     const Checkpoint& checkpoint,
                                                     int32_t max_tokens, Ops& ops);

  // The tensors under `prefix` ("model.layers.7.").
  StatusOr<LayerWeights> Load(const std::string& prefix) const;
  // hidden = the embedding of each token.               hidden [tokens.size(), hidden]
  Status Embed(std::span<const TokenId> tokens, float* hidden);
  // One whole sequence through a layer, in place; what its linear layers see is
  // added to `inputs`.
  Status Run(const LayerWeights& layer, std::span<const TokenId> tokens, float* hidden,
             LayerInputs* inputs);

 private:
  LayerPass(const ModelConfig& config, const Checkpoint& checkpoint, Ops& ops)
      : config_(config), checkpoint_(checkpoint), ops_(ops) {}
  void Plan(std::span<const TokenId> tokens);

  const ModelConfig config_;
  const Checkpoint& checkpoint_;
  Ops& ops_;
  Workspace workspace_;
  Buffer scratch_;
  Buffer cache_;
  KvLayerView kv_;
  RopeTable rope_;
  EmbeddingTable embedding_;
  std::unique_ptr<StepPlan> plan_;
};

}  // namespace inferd::quantize
