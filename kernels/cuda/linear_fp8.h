// What the two kernels for few rows and E4M3 weights share: linear_fp8.cu for any number of rows,
// linear_fp8_wide.cu for more than 16. They give the same bits.
#pragma once

#include "cuda/linear_warps.h"
#include "cuda/mma.h"

namespace inferd::cuda::fp8 {

inline constexpr int kBlockInputs = 64;
inline constexpr int kHalves = 2;  // of a block, 32 inputs each
inline constexpr int kBlockWords = kBlockInputs / 4;

struct Fp8Params {
  const uint32_t* x;
  const float* x_scales;
  const uint32_t* weights;
  const float* weight_scales;
  const float* bias;
  float* out;
  int32_t rows;
  int32_t outputs;
  int32_t blocks;  // of 64 inputs
  int32_t groups;
  int32_t group_halves;  // of 32 inputs; of one group for all, not used
  int32_t terms;
};

// Four codes, the first in the lowest byte, as two words of two bf16. The codes for NaN, which no
// weights have, become 480 on the device.
SIMT_DEVICE void Widen(uint32_t codes, uint32_t& low, uint32_t& high) {
#ifdef __CUDACC__
  const auto widen = [](uint32_t pair) {
    // Moved into place the exponent is 120 too small; right for subnormals too.
    const uint32_t moved = (pair & 0x00800080U) << 8 | (pair & 0x007F007FU) << 4;
    uint32_t result;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;"
        : "=r"(result)
        : "r"(moved), "r"(0x7B807B80U), "r"(0x80008000U));
    return result;
  };
  low = widen(__byte_perm(codes, 0, 0x4140));
  high = widen(__byte_perm(codes, 0, 0x4342));
#else
  const auto value = [codes](int i) {
    return ToFloat(E4m3{static_cast<uint8_t>(codes >> (8 * i))});
  };
  low = Pack2<Bf16>(value(0), value(1));
  high = Pack2<Bf16>(value(2), value(3));
#endif
}

// A whole sum to its place in `out`.
SIMT_DEVICE void StoreSum(const Fp8Params& p, int32_t row, int32_t output, float sum) {
  if (p.bias != nullptr) sum += p.bias[output];
  p.out[static_cast<int64_t>(row) * p.outputs + output] = sum;
}

// Whether linear_fp8_wide.cu takes it, in blocks of up to so many bytes of shared memory.
bool TakesWide(const Fp8Params& params, int32_t max_shared_bytes);
int LaunchWide(const Fp8Params& params, int32_t max_shared_bytes, Stream stream);

}  // namespace inferd::cuda::fp8
