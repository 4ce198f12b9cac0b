#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inferd::model {

enum class TensorRole : uint8_t {
  kMatrix,      // float [out, in], or an embedding
  kVector,      // float
  kCodes,       // the integers of a quantised matrix
  kScales,      // float
  kZeros,       // zero points, eight to an I32
  kGroupIndex,  // the group of each input
};

// A tensor the model needs.
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
  std::string_view integer = {};  // "I32" or "I8"; empty: any of the float types
};

}  // namespace inferd::model
