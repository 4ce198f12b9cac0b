// Which block of each linear layer a rank holds.
#pragma once

#include <cstdint>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_shard.h"

namespace inferd::model {

// What a linear layer does, which decides how it is split.
enum class LinearRole : uint8_t {
  kQuery,      // hidden to heads: outputs over rows, inputs over columns
  kKeyValue,   // hidden to KV heads, likewise
  kOutput,     // heads to hidden: inputs over rows, outputs over columns
  kGateUp,     // hidden to inner features
  kDown,       // inner features to hidden
  kHead,       // hidden to vocabulary: outputs over all ranks of the stage
  kReplicated  // not split
};

// Outputs [out_begin, out_begin + out_count) of a layer, and of each the inputs
// [in_begin, in_begin + in_count).
struct LinearBlock {
  int64_t out_begin = 0;
  int64_t out_count = 0;
  int64_t in_begin = 0;
  int64_t in_count = 0;
};

// The block of a layer [out, in] of this role.
LinearBlock BlockOf(const ModelShard& shard, LinearRole role, int64_t out, int64_t in);

// One of the layers that become one matrix.
struct LinearPart {
  std::string_view name;  // without prefix and ".weight"
  LinearBlock block;
};

// Inputs of a block that share a scale, of a layer in groups of `group` inputs; 0 when
// the block's edges do not meet those of the groups.
int64_t GroupOfBlock(const LinearBlock& block, int64_t group);

// Refuses a block that the layer's form of storage cannot be cut at. The layer fits its
// form (AddLinear).
Status CheckBlock(const QuantizationConfig& config, const Checkpoint& checkpoint,
                  std::string_view name, const LinearBlock& block, int64_t in);

}  // namespace inferd::model
