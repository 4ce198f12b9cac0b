#pragma once

#include "inferd/base/status.h"
#include "inferd/model/model_config.h"
#include "nlohmann/json.hpp"

namespace inferd::model {

// What `quantization_config` of a config.json says; nothing without one.
// UNIMPLEMENTED for schemes that would compute something else, naming the key
// and what is supported.
//
//   awq                 4 bits, version gemm, with zero points
//   gptq                4 bits, checkpoint_format gptq or gptq_v2
//   compressed-tensors  format int-quantized: 8-bit weights scaled per row,
//                       activations rounded to 8 bits per token as they come
StatusOr<QuantizationConfig> ReadQuantization(const nlohmann::json& root);

}  // namespace inferd::model
