#include "backends/host/sampling_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "inferd/base/random.h"

namespace inferd {

bool HasPenalties(const SampleRow& row) {
  return row.repetition_penalty != 1.0F || row.presence_penalty != 0.0F ||
         row.frequency_penalty != 0.0F;
}

bool HasAdjustments(const SampleRow& row) {
  return !row.logit_bias.empty() || !row.banned.empty() ||
         (HasPenalties(row) && !row.history.empty());
}

void AdjustLogits(const SampleRow& row, std::span<float> logits, std::span<int32_t> counts) {
  const auto known = [&](TokenId id) { return id >= 0 && static_cast<size_t>(id) < logits.size(); };
  for (const auto& [id, bias] : row.logit_bias) {
    if (known(id)) logits[id] += bias;
  }
  for (const TokenId id : row.banned) {
    if (known(id)) logits[id] = -std::numeric_limits<float>::infinity();
  }
  if (!HasPenalties(row)) return;
  // Two passes: counts of the output part, kept as count + 1 so that 0 means
  // "not in the history" and each distinct token is penalised once.
  const auto num_prompt = static_cast<size_t>(std::max(0, row.num_prompt));
  for (size_t i = 0; i < row.history.size(); ++i) {
    const TokenId id = row.history[i];
    if (!known(id)) continue;
    counts[id] = std::max(counts[id], 1) + (i >= num_prompt ? 1 : 0);
  }
  for (const TokenId id : row.history) {
    if (!known(id) || counts[id] == 0) continue;
    const int32_t count = counts[id] - 1;
    counts[id] = 0;
    float& l = logits[id];
    l = l > 0 ? l / row.repetition_penalty : l * row.repetition_penalty;
    l -= row.frequency_penalty * static_cast<float>(count) +
         (count > 0 ? row.presence_penalty : 0.0F);
  }
}

double TemperedLogit(float logit, float max_logit, float temperature) {
  return (static_cast<double>(logit) - static_cast<double>(max_logit)) /
         static_cast<double>(temperature);
}

double RelativeProbability(double tempered) { return std::exp(tempered); }

double MinPCutoff(float min_p) {
  if (min_p <= 0) return -std::numeric_limits<double>::infinity();
  return std::min(0.0, std::log(static_cast<double>(min_p)));
}

double GumbelScore(double tempered, const SampleRow& row, TokenId token) {
  const double u = PhiloxUniform(row.seed, row.position, static_cast<uint32_t>(token));
  return tempered - std::log(-std::log(u));
}

}  // namespace inferd
