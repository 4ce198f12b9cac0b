#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/shard_rules.h"

namespace inferd::model {

enum class TensorRole : uint8_t {
  kMatrix,      // float [out, in], or an embedding
  kVector,      // float
  kCodes,       // the integers of a quantised matrix
  kScales,      // float
  kZeros,       // zero points, eight to an I32
  kGroupIndex,  // the group of each input
};

// A tensor the model needs, whole.
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
  std::string_view integer = {};  // "I32" or "I8"; empty: any of the float types
  int32_t layer = -1;             // -1: none
  // Of the linear layer it belongs to; in 0: it belongs to none.
  LinearRole linear = LinearRole::kReplicated;
  int64_t out = 0;
  int64_t in = 0;
};

}  // namespace inferd::model
