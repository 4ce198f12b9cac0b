// Operations of one element on one element.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// x[i] += y[i], i in [begin, end).
void Add(float* x, const float* y, int64_t begin, int64_t end);

// out[r][i] = silu(gate_up[r][i]) * gate_up[r][n + i].
struct SiluMulParams {
  const float* gate_up;  // [rows, 2 n]
  float* out;            // [rows, n]
  int64_t n;
};
void SiluMul(const SiluMulParams& p, int64_t row_begin, int64_t row_end);

// n values of `element` from unaligned memory to f32.
void Widen(Element element, const void* from, int64_t n, float* to);

}  // namespace inferd::kernels
