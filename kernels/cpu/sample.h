// What a sampler asks of a whole row of logits.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

struct RowScan {
  float max;
  bool valid;  // neither NaN nor +Inf
};
RowScan ScanRow(const float* x, int64_t n);

// The lowest i with x[i] == value; n when there is none.
int64_t FindFirst(const float* x, int64_t n, float value);

// Indices i in [begin, end) with x[i] >= threshold, ascending, to `out` (room for
// end - begin); how many.
int64_t CollectAtLeast(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out);

// Largest value of each `chunk` elements (the last may be shorter) to `out`.
void ChunkMaxima(const float* x, int64_t n, int64_t chunk, float* out);

// sum exp((x[i] - max) * scale), within kSumExpError of the exact sum.
double SumExp(const float* x, int64_t n, float max, float scale);
inline constexpr double kSumExpError = 2e-5;  // relative

}  // namespace inferd::kernels
