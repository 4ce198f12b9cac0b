#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/model_config.h"
#include "inferd/ops/ops.h"

namespace inferd::model {

// The angle per position of each rotary pair, scaling applied. [head_dim / 2]
std::vector<double> InverseFrequencies(const ModelConfig& config);

// cos and sin of every position below `max_positions`, computed in double.
StatusOr<RopeTable> MakeRopeTable(const ModelConfig& config, int64_t max_positions, Ops& ops);

}  // namespace inferd::model
