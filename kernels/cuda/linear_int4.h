// What the two kernels for few rows and 4-bit weights share: linear_int4.cu for any number of rows,
// linear_int4_wide.cu for more than 16. They give the same bits.
#pragma once

#include "cuda/int4_codes.h"
#include "cuda/linear_warps.h"
#include "cuda/mma.h"

namespace inferd::cuda::int4 {

inline constexpr int kSteps = kInt4BlockInputs / 32;
inline constexpr int kTileWords = kInt4TileBytes / 4;

struct Int4Params {
  const int8_t* x;
  const float* x_scales;
  const uint32_t* codes;
  const float* weight_scales;
  const uint8_t* zeros;
  const float* bias;
  float* out;
  int32_t rows;
  int32_t outputs;
  int32_t padded_outputs;
  int32_t blocks;  // of 128 inputs
  int32_t groups;
  int32_t group_steps;  // of 32 inputs
};

// A whole sum to its place in `out`.
SIMT_DEVICE void StoreSum(const Int4Params& p, int32_t row, int32_t output, float sum) {
  if (p.bias != nullptr) sum += p.bias[output];
  p.out[static_cast<int64_t>(row) * p.outputs + output] = sum;
}

// Whether linear_int4_wide.cu takes it, in blocks of up to so many bytes of shared memory.
bool TakesWide(const Int4Params& params, int32_t max_shared_bytes);
int LaunchWide(const Int4Params& params, int32_t max_shared_bytes, Stream stream);

}  // namespace inferd::cuda::int4
