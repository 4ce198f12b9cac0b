#pragma once

#include "inferd/model/model_config.h"
#include "nlohmann/json.hpp"

namespace inferd::model {

// Fills rope_theta, rope_scaling and, for yarn, the stretched max_context from
// config.json, in its older form (rope_theta, rope_scaling) or the newer one
// (rope_parameters). `config` has head_dim and max_positions already.
Status ReadRope(const nlohmann::json& root, ModelConfig* config);

}  // namespace inferd::model
