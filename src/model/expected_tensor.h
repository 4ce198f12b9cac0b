#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/shard_rules.h"

namespace inferd::model {

enum class TensorRole : uint8_t {
  kMatrix,        // float [out, in], or an embedding
  kVector,        // float
  kCodes,         // the integers of a quantised matrix
  kScales,        // float
  kSharedScales,  // float, one for all outputs or for some; packed, each has its own
  kZeros,         // zero points, eight to an I32
  kGroupIndex,    // the group of each input
  kUnused,        // float, of which nothing is taken
};

// A tensor the model needs, whole.
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
  std::string_view integer = {};  // "I32", "I8" or "F8_E4M3"; empty: any of the float types
  int32_t layer = -1;             // -1: none
  // Of the linear layer it belongs to; in 0: it belongs to none.
  LinearRole linear = LinearRole::kReplicated;
  int64_t out = 0;
  int64_t in = 0;
};

}  // namespace inferd::model
