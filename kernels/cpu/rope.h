// Rotary position embedding.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// Rotates heads [0, num_heads) of one row, each head_dim apart, in place: pairs
// (i, i + half) by the angle whose cosine and sine are cos[i], sin[i].
void RotateHeads(float* row, int64_t num_heads, int64_t head_dim, int64_t half, const float* cos,
                 const float* sin);

}  // namespace inferd::kernels
