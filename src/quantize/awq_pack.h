#pragma once

#include <cstdint>
#include <vector>

#include "quantize/rounding.h"

namespace inferd::quantize {

// The three tensors of a linear layer in the "gemm" layout of AWQ. A word holds
// eight outputs, their columns in the order 0 2 4 6 1 3 5 7 from the lowest four
// bits up.
struct AwqTensors {
  std::vector<uint32_t> qweight;  // [in, out / 8]
  std::vector<uint32_t> qzeros;   // [in / group, out / 8]
  std::vector<uint16_t> scales;   // [in / group, out], F16
};

// out is a multiple of 8.
AwqTensors PackAwq(const Int4Matrix& matrix);

}  // namespace inferd::quantize
