// The arithmetic of inferd/ops/sampling.h that decides which token is drawn.
// Host backends share these functions, compiled once, so that the last bit of a
// comparison does not depend on the backend. What they find candidates with is
// their own.
#pragma once

#include <cstdint>
#include <span>

#include "inferd/ops/sampling.h"

namespace inferd {

// Whether the row has a penalty that changes the logits of tokens seen.
bool HasPenalties(const SampleRow& row);

// Whether steps 3 and 4 change anything.
bool HasAdjustments(const SampleRow& row);

// Steps 3 and 4, in place. `counts` is [vocab], zero before and after.
void AdjustLogits(const SampleRow& row, std::span<float> logits, std::span<int32_t> counts);

// The order of step 7: larger logit first, then lower id.
inline bool RanksBefore(float a, TokenId a_id, float b, TokenId b_id) {
  return a != b ? a > b : a_id < b_id;
}

// Step 6, up to the common factor exp(max): the tempered logit and its
// probability relative to the largest.
double TemperedLogit(float logit, float max_logit, float temperature);
double RelativeProbability(double tempered);

// min_p in terms of TemperedLogit: drop what is below. Never above 0, so the
// largest stays.
double MinPCutoff(float min_p);

// Step 8. Largest wins, ties to the lower id.
double GumbelScore(double tempered, const SampleRow& row, TokenId token);
// -log(-log(u)) lies in [kGumbelMin, kGumbelMax] for every u PhiloxUniform gives.
inline constexpr double kGumbelMin = -2.82;
inline constexpr double kGumbelMax = 16.64;

}  // namespace inferd
