#include "backends/cpu/cpu_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "backends/host/sampling_rules.h"
#include "cpu/gumbel.h"
#include "cpu/sample.h"

namespace inferd {
namespace {

using Candidate = CpuSamplerMemory::Candidate;

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr TokenId kNoToken = -1;  // nothing found; the row is then reported as corrupted
constexpr int64_t kChunk = 64;    // logits per maximum, and per look at the best score

bool Before(const Candidate& a, const Candidate& b) {
  return RanksBefore(a.logit, a.id, b.logit, b.id);
}

// The candidates with logits of at least `threshold`, in id order.
std::span<Candidate> Collect(std::span<const float> logits, float threshold,
                             CpuSamplerMemory& memory) {
  const int64_t count = kernels::CollectAtLeast(
      logits.data(), 0, static_cast<int64_t>(logits.size()), threshold, memory.ids.data());
  for (int64_t i = 0; i < count; ++i) {
    memory.candidates[i] = {logits[memory.ids[i]], memory.ids[i]};
  }
  return memory.candidates.first(count);
}

// The k likeliest, sorted. Among the maxima of disjoint chunks the k-th largest
// is no more than the k-th largest logit, so it is a safe threshold.
std::span<Candidate> CollectTopK(std::span<const float> logits, int64_t k,
                                 CpuSamplerMemory& memory) {
  const auto n = static_cast<int64_t>(logits.size());
  k = std::min(k, n);
  if (k == 0) return {};
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  float threshold = kNegativeInfinity;
  if (k <= chunks) {
    // The candidates' memory is free until Collect.
    auto* maxima = reinterpret_cast<float*>(memory.ids.data());
    kernels::ChunkMaxima(logits.data(), n, kChunk, maxima);
    std::nth_element(maxima, maxima + k - 1, maxima + chunks, std::greater<>());
    threshold = maxima[k - 1];
  }
  std::span<Candidate> all = Collect(logits, threshold, memory);
  const auto kept = std::min(static_cast<size_t>(k), all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(),
                    Before);
  return all.first(kept);
}

// A logit below which the tempered one is surely below `tempered`; a little
// lower than exact.
float LogitFor(double tempered, float max, float temperature) {
  const double logit = static_cast<double>(max) + tempered * static_cast<double>(temperature);
  const double margin = 1e-6 * (std::abs(static_cast<double>(max)) + std::abs(logit)) + 1e-30;
  const double low = logit - margin;
  if (!(low > -static_cast<double>(std::numeric_limits<float>::max()))) return kNegativeInfinity;
  return static_cast<float>(low);
}

// The best token so far by exact score, in any order of trying.
class BestToken {
 public:
  BestToken(std::span<const float> logits, const SampleRow& row, float max, double cutoff)
      : logits_(logits), row_(row), max_(max), cutoff_(cutoff) {}

  void Try(TokenId id) {
    const double tempered = TemperedLogit(logits_[id], max_, row_.temperature);
    if (tempered < cutoff_ || tempered + kGumbelMax < score_) return;
    const double score = GumbelScore(tempered, row_, id);
    if (score > score_ || (score == score_ && id < token_)) {
      score_ = score;
      token_ = id;
    }
  }
  // What a logit must reach to have a chance.
  float Threshold() const {
    return LogitFor(std::max(score_ - kGumbelMax, cutoff_), max_, row_.temperature);
  }
  double score() const { return score_; }
  TokenId token() const { return token_; }

 private:
  const std::span<const float> logits_;
  const SampleRow& row_;
  const float max_;
  const double cutoff_;
  double score_ = -std::numeric_limits<double>::infinity();
  TokenId token_ = kNoToken;
};

// Step 8 over every logit with a tempered value of at least `cutoff`. A token
// can win only if its logit is within reach of the best score so far; in a chunk
// with many of those, a vector pass finds the few whose score is.
TokenId DrawFromAll(std::span<const float> logits, const SampleRow& row, float max, double cutoff,
                    CpuSamplerMemory& memory) {
  static_assert(kChunk == kernels::kGumbelChunk);
  constexpr int64_t kMany = 4;
  const auto n = static_cast<int64_t>(logits.size());
  // The pass knows no cutoff, and needs a scale that f32 can hold.
  const bool vector_pass = row.min_p <= 0 && row.temperature >= 1e-6F;
  BestToken best(logits, row, max, cutoff);
  // The likeliest token first: its score sets a high bar at once.
  const int64_t first = kernels::FindFirst(logits.data(), n, max);
  if (first < n) best.Try(static_cast<TokenId>(first));
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, n);
    const int64_t count =
        kernels::CollectAtLeast(logits.data(), begin, end, best.Threshold(), memory.ids.data());
    if (count <= kMany || !vector_pass || end - begin < kChunk) {
      for (int64_t i = 0; i < count; ++i) best.Try(memory.ids[i]);
      continue;
    }
    float scores[kChunk];
    const float largest =
        kernels::GumbelScores(logits.data() + begin, max, 1.0F / row.temperature, row.seed,
                              row.position, static_cast<uint32_t>(begin), scores);
    const double bar = std::max(best.score(), static_cast<double>(largest) -
                                                  static_cast<double>(kernels::kGumbelError)) -
                       static_cast<double>(kernels::kGumbelError);
    for (int64_t i = 0; i < kChunk; ++i) {
      if (static_cast<double>(scores[i]) >= bar) best.Try(static_cast<TokenId>(begin + i));
    }
  }
  return best.token();
}

// Step 8 over candidates sorted by rank.
TokenId DrawFrom(std::span<const Candidate> kept, const SampleRow& row) {
  if (kept.empty()) return kNoToken;
  TokenId token = kept[0].id;
  double best = -std::numeric_limits<double>::infinity();
  for (const Candidate& candidate : kept) {
    const double tempered = TemperedLogit(candidate.logit, kept[0].logit, row.temperature);
    if (tempered + kGumbelMax < best) break;
    const double score = GumbelScore(tempered, row, candidate.id);
    if (score > best || (score == best && candidate.id < token)) {
      best = score;
      token = candidate.id;
    }
  }
  return token;
}

// How many of the sorted candidates, which are all that min_p and top_k leave,
// stay under top_p: the reference's own sums.
size_t CountTopP(std::span<const Candidate> sorted, const SampleRow& row) {
  double total = 0;
  const auto probability = [&](const Candidate& c) {
    return RelativeProbability(TemperedLogit(c.logit, sorted[0].logit, row.temperature));
  };
  for (const Candidate& c : sorted) total += probability(c);
  const double wanted = static_cast<double>(row.top_p) * total;
  double sum = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    sum += probability(sorted[i]);
    if (sum >= wanted) return i + 1;
  }
  return sorted.size();
}

// top_p alone. The total comes from a vector pass with a known error, so only the
// likeliest need sorting; where the border falls inside the error, nothing is
// returned and the caller sorts everything.
std::optional<std::span<Candidate>> KeepTopP(std::span<const float> logits, const SampleRow& row,
                                             float max, CpuSamplerMemory& memory) {
  if (row.temperature < 1e-6F) return std::nullopt;
  const double total = kernels::SumExp(logits.data(), static_cast<int64_t>(logits.size()), max,
                                       1.0F / row.temperature);
  const double wanted = static_cast<double>(row.top_p) * total;
  const double error = wanted * kernels::kSumExpError;
  for (const double reach : {3.0, 8.0, 16.0}) {
    std::span<Candidate> sorted = Collect(logits, LogitFor(-reach, max, row.temperature), memory);
    if (sorted.size() > logits.size() / 2) return std::nullopt;
    // Everything above a threshold is a prefix of the sorted vocabulary.
    double mass = 0;
    for (const Candidate& c : sorted) {
      mass += RelativeProbability(TemperedLogit(c.logit, max, row.temperature));
    }
    if (mass < wanted + 2 * error) continue;
    std::sort(sorted.begin(), sorted.end(), Before);
    double sum = 0;
    for (size_t i = 0; i < sorted.size(); ++i) {
      sum += RelativeProbability(TemperedLogit(sorted[i].logit, max, row.temperature));
      if (sum >= wanted + error) return sorted.first(i + 1);
      if (sum > wanted - error) return std::nullopt;
    }
  }
  return std::nullopt;
}

TokenId Draw(std::span<const float> logits, const SampleRow& row, float max,
             CpuSamplerMemory& memory) {
  const auto n = static_cast<int64_t>(logits.size());
  const double cutoff = MinPCutoff(row.min_p);
  const bool by_rank = row.top_k > 0 && row.top_k < n;
  if (!by_rank && row.top_p >= 1) return DrawFromAll(logits, row, max, cutoff, memory);

  std::span<Candidate> kept;
  if (by_rank) {
    kept = CollectTopK(logits, row.top_k, memory);
  } else {
    if (row.min_p <= 0) {
      if (const auto prefix = KeepTopP(logits, row, max, memory)) return DrawFrom(*prefix, row);
    }
    kept = Collect(logits, LogitFor(cutoff, max, row.temperature), memory);
    std::sort(kept.begin(), kept.end(), Before);
  }
  while (kept.size() > 1 && TemperedLogit(kept.back().logit, max, row.temperature) < cutoff) {
    kept = kept.first(kept.size() - 1);
  }
  if (row.top_p < 1) kept = kept.first(CountTopP(kept, row));
  return DrawFrom(kept, row);
}

}  // namespace

CpuSamplerMemory CpuSamplerMemory::Place(std::byte* memory, int64_t vocab) {
  CpuSamplerMemory placed;
  const auto size = static_cast<size_t>(vocab);
  placed.candidates = {reinterpret_cast<Candidate*>(memory), size};
  placed.adjusted = {reinterpret_cast<float*>(memory + 8 * vocab), size};
  placed.counts = {reinterpret_cast<int32_t*>(memory + 12 * vocab), size};
  placed.ids = {reinterpret_cast<int32_t*>(memory + 16 * vocab), size};
  std::fill(placed.counts.begin(), placed.counts.end(), 0);
  return placed;
}

void CpuSampleRow(std::span<const float> logits, const SampleRow& row, CpuSamplerMemory& memory,
                  SampleOutput* out) {
  const auto n = static_cast<int64_t>(logits.size());
  out->token = kNoToken;
  out->corrupted = true;
  out->logprob = 0;
  out->top.clear();
  if (n == 0) return;
  kernels::RowScan scan = kernels::ScanRow(logits.data(), n);
  if (!scan.valid) return;

  double log_sum = 0;
  if (row.logprobs >= 0) {
    log_sum =
        static_cast<double>(scan.max) + std::log(kernels::SumExp(logits.data(), n, scan.max, 1.0F));
    for (const Candidate& c : CollectTopK(logits, row.logprobs, memory)) {
      out->top.emplace_back(c.id, static_cast<float>(c.logit - log_sum));
    }
  }
  std::span<const float> adjusted = logits;
  if (HasAdjustments(row)) {
    std::copy(logits.begin(), logits.end(), memory.adjusted.begin());
    AdjustLogits(row, memory.adjusted, memory.counts);
    adjusted = memory.adjusted;
    scan = kernels::ScanRow(adjusted.data(), n);
  }
  if (!scan.valid || !std::isfinite(scan.max)) {  // nothing left to draw from
    out->top.clear();
    return;
  }
  const TokenId token =
      row.temperature > 0 ? Draw(adjusted, row, scan.max, memory)
                          : static_cast<TokenId>(kernels::FindFirst(adjusted.data(), n, scan.max));
  // Kernels that contradict each other, as broken hardware or a miscompiled target
  // make them, must not become an index.
  if (token < 0 || token >= n) {
    out->top.clear();
    return;
  }
  out->token = token;
  out->corrupted = false;
  if (row.logprobs >= 0) out->logprob = static_cast<float>(logits[token] - log_sum);
}

}  // namespace inferd
