// Float weights to integers and to E4M3.
#pragma once

#include <cstdint>
#include <vector>

#include "quantize/matrix.h"

namespace inferd::quantize {

// w[o][i] = (codes[o][i] - zeros[o][g]) * scales[o][g], g = i / group.
struct Int4Matrix {
  int64_t out = 0;
  int64_t in = 0;
  int64_t group = 0;
  std::vector<uint8_t> codes;    // [out, in], 0 to 15
  std::vector<uint8_t> zeros;    // [out, in / group], 0 to 15
  std::vector<uint16_t> scales;  // [out, in / group], F16
};

// Rounds one group of `count` weights to 16 evenly spaced values that span its
// range, zero included, times `clip` (at most 1). The step is rounded to F16
// before the weights are. Returns false when it is too large for F16.
struct GroupSteps {
  uint16_t scale = 0;  // F16
  uint8_t zero = 0;
};
bool RoundGroup(const float* weights, int64_t count, float clip, uint8_t* codes, GroupSteps* steps);

// All groups of `weights`; `clip`, [out, in / group], may be null: 1 everywhere.
// `group` divides in. False when a scale is too large for F16.
bool RoundInt4(const Matrix& weights, int64_t group, const float* clip, int threads,
               Int4Matrix* rounded);

// The values that row `o` stands for, [in].
void Dequantize(const Int4Matrix& matrix, int64_t o, float* values);

// w[o][i] = codes[o][i] * scales[o]; codes in [-127, 127].
struct Int8Matrix {
  std::vector<int8_t> codes;  // [out, in]
  std::vector<float> scales;  // [out]
};
Int8Matrix RoundInt8(const Matrix& weights, int threads);

// w[o][i] = codes[o][i] * scales[o]; codes are E4M3, none NaN.
struct Fp8Matrix {
  std::vector<uint8_t> codes;  // [out, in]
  std::vector<float> scales;   // [out]
};
Fp8Matrix RoundFp8(const Matrix& weights, int threads);

}  // namespace inferd::quantize
