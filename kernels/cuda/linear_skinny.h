// What the two kernels for few rows and bf16, f16 or int8 weights share: linear_skinny.cu
// for any number of rows, linear_wide.cu for more than 32. They give the same bits.
#pragma once

#include "cuda/linear_warps.h"
#include "cuda/mma.h"
#include "cuda/vec.h"

namespace inferd::cuda {

inline constexpr int kBlockWords = kRowAlignBytes / 4;  // 16

struct SkinnyParams {
  const uint32_t* x;
  const float* float_x;  // the kernel of kFloatRows
  const uint32_t* weights;
  const float* x_scales;       // f16, int8
  const float* weight_scales;  // int8
  const float* bias;
  float* out;
  int32_t rows;
  int32_t outputs;
  int32_t row_words;
  int32_t terms;
};

// `Value` is what an element of x and of w is: Bf16, Half or int8_t.
template <class Value>
using SumOf = std::conditional_t<std::is_same_v<Value, int8_t>, int32_t, float>;

// sums[r] += the products of one 64-byte block: of outputs g (w0) and g + 8 (w1) of a tile of 16
// and row g (x) of eight, of which each lane has 16 bytes.
template <class Value>
SIMT_DEVICE void MultiplyBlock(SumOf<Value> (&sums)[4], const Vec<uint32_t, 4>& w0,
                               const Vec<uint32_t, 4>& w1, const Vec<uint32_t, 4>& x) {
  SIMT_UNROLL
  for (int s = 0; s < 4; s += 2) {
    const uint32_t a[4] = {w0.v[s], w1.v[s], w0.v[s + 1], w1.v[s + 1]};
    const uint32_t b[2] = {x.v[s], x.v[s + 1]};
    if constexpr (std::is_same_v<Value, int8_t>) {
      MmaInt8(sums, a, b);
    } else {
      Mma16<Value>(sums, a, b);
    }
  }
}

// A whole sum to its place in `out`.
template <class Value>
SIMT_DEVICE void StoreProduct(const SkinnyParams& p, int32_t row, int32_t output,
                              SumOf<Value> sum) {
  float result = static_cast<float>(sum);
  if constexpr (std::is_same_v<Value, Half>) {
    result = AddScaled(BiasOf(p.bias, output), result, p.x_scales[row], 1.0F);
  } else if constexpr (std::is_same_v<Value, int8_t>) {
    result = AddScaled(BiasOf(p.bias, output), result, p.x_scales[row], p.weight_scales[output]);
  } else if (p.bias != nullptr) {
    result += p.bias[output];
  }
  p.out[static_cast<int64_t>(row) * p.outputs + output] = result;
}

// Whether linear_wide.cu takes it, in blocks of up to so many bytes of shared memory.
bool TakesWide(const SkinnyParams& params, int32_t max_shared_bytes);
// Value: Bf16, Half or int8_t.
template <class Value>
int LaunchWide(const SkinnyParams& params, int32_t max_shared_bytes, Stream stream);

}  // namespace inferd::cuda
