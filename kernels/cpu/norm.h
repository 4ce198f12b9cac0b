// Root-mean-square normalisation.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// Row r of x starts at x + r * x_stride, of out at out + r * out_stride. With
// `add`, x[r] += add[r] (row stride x_stride) comes first.
struct RmsNormParams {
  float* x;
  int64_t x_stride;
  const float* add;  // or null
  const float* weight;
  int64_t n;
  float eps;
  float* out;  // may be x
  int64_t out_stride;
};
void RmsNorm(const RmsNormParams& p, int64_t row_begin, int64_t row_end);

}  // namespace inferd::kernels
