// Which tensors a quantised checkpoint has.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/quantize/quantize.h"
#include "quantize/checkpoint_writer.h"

namespace inferd::quantize {

// The linear layers of a decoder layer, below "model.layers.7.".
inline constexpr std::array<std::string_view, 7> kLinears = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

std::string LayerPrefix(int32_t layer);  // "model.layers.7."

// The vectors of every decoder layer, in full: norms and biases.
std::vector<std::string> LayerVectors(const ModelConfig& config, int32_t layer);
// The tensors outside of the layers that are kept: embedding, last norm, and the head
// unless it is tied or quantised.
std::vector<std::string> OuterTensors(const ModelConfig& config, bool int8_head);

// INVALID_ARGUMENT, naming the sizes that do, when 4-bit groups of `group_size`
// do not fit every linear layer.
Status CheckGroupSize(const ModelConfig& config, int32_t group_size);

// All tensors of the output in the order of the model. The checkpoint fits the
// configuration, and the group size both.
StatusOr<std::vector<TensorSpec>> PlanTensors(const ModelConfig& config,
                                              const Checkpoint& checkpoint,
                                              const QuantizeOptions& options);

}  // namespace inferd::quantize
