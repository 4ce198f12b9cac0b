// Gumbel noise for a stretch of a row of logits.
#pragma once

#include <cstdint>

#include "cpu/common.h"

namespace inferd::kernels {

// Draws of one chunk.
inline constexpr int64_t kGumbelChunk = 64;
// How far a score may be off for tempered logits above -30.
inline constexpr float kGumbelError = 1e-4F;

// scores[i] = (x[i] - max) * scale - log(-log(u)), i < kGumbelChunk, where u is
// the uniform number of Philox4x32-10 with key `seed` and draw number first + i
// at `position`; first is a multiple of 4. Returns the largest.
float GumbelScores(const float* x, float max, float scale, uint64_t seed, uint64_t position,
                   uint32_t first, float* scores);

}  // namespace inferd::kernels
