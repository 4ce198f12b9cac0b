#include "backends/ref/ref_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/host/sampling_rules.h"

namespace inferd {
namespace {

// Step 1.
bool IsValid(std::span<const float> logits) {
  return std::all_of(logits.begin(), logits.end(), [](float l) {
    return !std::isnan(l) && l != std::numeric_limits<float>::infinity();
  });
}

double LogSumExp(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float l : logits) sum += std::exp(l - max);
  return max + std::log(sum);
}

// All ids, likeliest first.
void SortIds(std::span<const float> logits, std::vector<TokenId>* order) {
  order->resize(logits.size());
  std::iota(order->begin(), order->end(), 0);
  std::sort(order->begin(), order->end(),
            [&](TokenId a, TokenId b) { return RanksBefore(logits[a], a, logits[b], b); });
}

// Step 7: how many of the sorted ids stay.
size_t CountKept(std::span<const float> logits, const SampleRow& row,
                 const std::vector<TokenId>& order) {
  const float max = logits[order[0]];
  const auto tempered = [&](size_t i) {
    return TemperedLogit(logits[order[i]], max, row.temperature);
  };
  size_t kept = order.size();
  if (row.min_p > 0) {
    const double cutoff = MinPCutoff(row.min_p);
    while (kept > 1 && tempered(kept - 1) < cutoff) --kept;
  }
  if (row.top_k > 0) kept = std::min(kept, static_cast<size_t>(row.top_k));
  if (row.top_p < 1) {
    double total = 0;
    for (size_t i = 0; i < kept; ++i) total += RelativeProbability(tempered(i));
    const double wanted = static_cast<double>(row.top_p) * total;
    double sum = 0;
    for (size_t i = 0; i < kept; ++i) {
      sum += RelativeProbability(tempered(i));
      if (sum >= wanted) return i + 1;
    }
  }
  return kept;
}

}  // namespace

void RefSampleRow(std::span<float> logits, const SampleRow& row, RefSamplerMemory* memory,
                  SampleOutput* out) {
  out->token = -1;
  out->corrupted = true;
  out->logprob = 0;
  out->top.clear();
  if (logits.empty()) return;
  if (!IsValid(logits)) return;
  double log_sum = 0;
  if (row.logprobs >= 0) {
    log_sum = LogSumExp(logits);
    memory->raw.assign(logits.begin(), logits.end());
    SortIds(logits, &memory->order);
    const size_t wanted = std::min(static_cast<size_t>(row.logprobs), logits.size());
    for (size_t i = 0; i < wanted; ++i) {
      const TokenId id = memory->order[i];
      out->top.emplace_back(id, static_cast<float>(logits[id] - log_sum));
    }
  }
  memory->counts.resize(logits.size(), 0);
  AdjustLogits(row, logits, memory->counts);
  if (!IsValid(logits)) {
    out->top.clear();
    return;
  }
  SortIds(logits, &memory->order);
  const std::vector<TokenId>& order = memory->order;
  const float max = logits[order[0]];
  if (!std::isfinite(max)) {  // nothing left to draw from
    out->top.clear();
    return;
  }
  TokenId token = order[0];
  if (row.temperature > 0) {
    const size_t kept = CountKept(logits, row, order);
    double best = -std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < kept; ++i) {
      const TokenId id = order[i];
      const double score = GumbelScore(TemperedLogit(logits[id], max, row.temperature), row, id);
      if (score > best || (score == best && id < token)) {
        best = score;
        token = id;
      }
    }
  }
  out->token = token;
  out->corrupted = false;
  if (row.logprobs >= 0) out->logprob = static_cast<float>(memory->raw[token] - log_sum);
}

}  // namespace inferd
