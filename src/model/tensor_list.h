#pragma once

#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "model/expected_tensor.h"

namespace inferd::model {

// Names under which a decoder layer's tensors are stored.
std::string LayerPrefix(int32_t layer);  // "model.layers.7."

inline constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
inline constexpr std::string_view kFinalNorm = "model.norm.weight";
inline constexpr std::string_view kHead = "lm_head.weight";

// All of them, linear layers in the form the checkpoint has them in. Refuses
// layers no form of its quantisation fits.
StatusOr<std::vector<ExpectedTensor>> ExpectedTensors(const ModelConfig& config,
                                                      const Checkpoint& checkpoint);

// Refuses a shard at whose edges the checkpoint's layers cannot be cut. The tensors fit
// the configuration (CheckTensors).
Status CheckShard(const ModelShard& shard, const Checkpoint& checkpoint);

// Compares the checkpoint with what the configuration needs: every tensor there,
// with its shape and dtype, and matrices that are joined stored in one way.
// Names the first few that are missing. Other tensors go into `notes`, except
// those that belong to something not supported (other quantisation, adapters,
// experts, biases the configuration denies), which are refused by name.
Status CheckTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                    std::vector<std::string>* notes);

}  // namespace inferd::model
