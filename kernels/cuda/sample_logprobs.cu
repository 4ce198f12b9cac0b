// The logits as they came, of rows that want logprobs: log-sum-exp (f32 exponentials,
// double sum) and the likeliest tokens; a copy of rows that are adjusted later. One
// block a row.
#include "cuda/sample_select.h"

#include "cuda/code.h"
#include "cuda/sample_steps.h"

namespace inferd::cuda {
namespace {

struct TopTokens {
  Array<uint64_t, kMaxLogprobs> keys;
  Array<float, kMaxLogprobs> logits;
  int32_t count;
};

SIMT_KERNEL(kSampleThreads)
LogprobsKernel(SampleParams p) {
  SIMT_SHARED(selection, Selection);
  SIMT_SHARED(top, TopTokens);
  SIMT_SHARED(maxima, Array<float, kSampleWarps>);
  SIMT_SHARED(sums, Array<double, kSampleWarps>);
  const auto r = static_cast<int32_t>(BlockX());
  const SampleWorkspace w = WorkspaceOf(p.workspace, p.max_rows, p.vocabulary);
  ReleaseSuccessor();
  WaitForPredecessor();
  const SampleSpec spec = p.specs[r];
  if (spec.logprobs >= 0) {
    const float* const row = p.logits + int64_t{r} * p.vocabulary;
    const bool adjusted = IsAdjusted(spec);
    float max = -FloatFromBits(0x7F800000U);
    ForLogits(row, 0, p.vocabulary, [&](int32_t id, const float(&v)[4], int32_t count) {
      SIMT_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (j >= count) continue;
        max = fmaxf(max, v[j]);
        if (adjusted) w.raw[int64_t{r} * p.vocabulary + id + j] = v[j];
      }
    });
    max = BlockReduce(max, &maxima[0], MaxOperation{});
    double sum = 0;
    ForLogits(row, 0, p.vocabulary, [&](int32_t, const float(&v)[4], int32_t count) {
      SIMT_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (j < count) sum += static_cast<double>(expf(v[j] - max));
      }
    });
    sum = BlockReduce(sum, &sums[0], AddOperation{});
    const double log_sum = static_cast<double>(max) + log(sum);
    if (ThreadX() == 0) {
      w.states[r].log_sum = log_sum;
      top.count = 0;
    }
    const int32_t wanted = spec.logprobs < p.vocabulary ? spec.logprobs : p.vocabulary;
    if (wanted > 0) {
      const auto enough = static_cast<uint64_t>(wanted);
      const uint64_t least =
          SelectKey(row, p.vocabulary, 0, selection, OneEach{}, [&](uint64_t) { return enough; });
      ForLogits(row, 0, p.vocabulary, [&](int32_t id, const float(&v)[4], int32_t count) {
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j) {
          if (j >= count || KeyOf(v[j], id + j) < least) continue;
          const int32_t at = AtomicAdd(&top.count, 1);
          // More only with NaN among them: the row is corrupted anyway.
          if (at >= kMaxLogprobs) continue;
          top.keys[at] = KeyOf(v[j], id + j);
          top.logits[at] = v[j];
        }
      });
      SyncThreads();
      // A token's place is the number of those before it.
      const int32_t found = top.count < wanted ? top.count : wanted;
      for (auto i = static_cast<int32_t>(ThreadX()); i < found; i += kSampleThreads) {
        int32_t place = 0;
        for (int32_t j = 0; j < found; ++j) place += top.keys[j] > top.keys[i] ? 1 : 0;
        const int64_t to = int64_t{r} * kMaxLogprobs + place;
        p.top_ids[to] = ~static_cast<int32_t>(static_cast<uint32_t>(top.keys[i]));
        p.top_logprobs[to] = static_cast<float>(static_cast<double>(top.logits[i]) - log_sum);
      }
    }
  }
}

}  // namespace

int SampleLogprobs(const SampleParams& p, Stream stream) {
  return Launch(LogprobsKernel,
                {.grid = {static_cast<unsigned>(p.num_rows)},
                 .block = {kSampleThreads},
                 .shared_bytes = 0,
                 .early = false},
                stream, p);
}

int code::LoadSampleLogprobs() { return LoadKernels(LogprobsKernel); }

}  // namespace inferd::cuda
