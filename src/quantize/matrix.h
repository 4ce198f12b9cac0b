#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"

namespace inferd::quantize {

// A weight matrix in float, row-major [out, in].
struct Matrix {
  int64_t out = 0;
  int64_t in = 0;
  std::vector<float> values;

  float* row(int64_t o) { return values.data() + o * in; }
  const float* row(int64_t o) const { return values.data() + o * in; }
};

// The elements of a float tensor. FAILED_PRECONDITION, naming it, when one is
// not finite.
StatusOr<std::vector<float>> ReadFloats(const Checkpoint& checkpoint, const std::string& name);

// The tensor <name>.weight, which has two dimensions.
StatusOr<Matrix> ReadMatrix(const Checkpoint& checkpoint, const std::string& name);

// `value` after storing it as `dtype` (a float type), and its bits appended to `bytes`.
float RoundTo(DType dtype, float value);
void AppendAs(DType dtype, float value, std::string* bytes);

}  // namespace inferd::quantize
