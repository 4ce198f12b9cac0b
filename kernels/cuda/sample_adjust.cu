// Steps 3 and 4 of inferd/ops/sampling.h on the few logits they concern. One block a
// row; each operation rounds by itself, as on the host.
#include "cuda/code.h"
#include "cuda/sample_row.h"
#include "cuda/sample_steps.h"

namespace inferd::cuda {
namespace {

SIMT_KERNEL(kSampleThreads)
AdjustKernel(SampleParams p) {
  SIMT_SHARED(invalid, int32_t);
  SIMT_SHARED(counted, int32_t);  // whether the token of the slot is among those seen
  const auto r = static_cast<int32_t>(BlockX());
  const SampleWorkspace w = WorkspaceOf(p.workspace, p.max_rows, p.vocabulary);
  const auto thread = static_cast<int32_t>(ThreadX());
  float* const row = p.logits + int64_t{r} * p.vocabulary;
  const auto known = [&](int32_t id) { return id >= 0 && id < p.vocabulary; };
  ReleaseSuccessor();
  WaitForPredecessor();
  const SampleSpec spec = p.specs[r];
  if (IsAdjusted(spec)) {
    if (thread == 0) invalid = counted = 0;
    const int32_t last = spec.sees_slot != 0 ? p.drawn[spec.slot] : -1;
    SyncThreads();
    // What is overwritten is looked at before.
    const auto check = [&](const int32_t* ids, int32_t begin, int32_t end) {
      for (int32_t i = begin + thread; i < end; i += kSampleThreads) {
        if (known(ids[i]) && IsInvalid(row[ids[i]])) AtomicOr(&invalid, 1);
      }
    };
    check(p.bias_ids, spec.bias_begin, spec.bias_end);
    check(p.banned_ids, spec.banned_begin, spec.banned_end);
    check(p.seen_ids, spec.seen_begin, spec.seen_end);
    if (thread == 0) check(&last, 0, 1);
    SyncThreads();
    // A token's first entry takes all of its entries, in order.
    for (int32_t i = spec.bias_begin + thread; i < spec.bias_end; i += kSampleThreads) {
      const int32_t id = p.bias_ids[i];
      bool first = known(id);
      for (int32_t j = spec.bias_begin; first && j < i; ++j) first = p.bias_ids[j] != id;
      if (!first) continue;
      float logit = row[id];
      for (int32_t j = i; j < spec.bias_end; ++j) {
        if (p.bias_ids[j] == id) logit = ExactAdd(logit, p.bias_values[j]);
      }
      row[id] = logit;
    }
    SyncThreads();
    for (int32_t i = spec.banned_begin + thread; i < spec.banned_end; i += kSampleThreads) {
      const int32_t id = p.banned_ids[i];
      if (known(id)) AtomicExchange(row + id, -FloatFromBits(0x7F800000U));
    }
    SyncThreads();
    const auto penalise = [&](int32_t id, int32_t count) {
      float logit = row[id];
      logit = logit > 0 ? logit / spec.repetition_penalty
                        : ExactMultiply(logit, spec.repetition_penalty);
      const float penalty =
          ExactAdd(ExactMultiply(spec.frequency_penalty, static_cast<float>(count)),
                   count > 0 ? spec.presence_penalty : 0.0F);
      row[id] = ExactAdd(logit, -penalty);
    };
    for (int32_t i = spec.seen_begin + thread; i < spec.seen_end; i += kSampleThreads) {
      const int32_t id = p.seen_ids[i];
      if (!known(id)) continue;
      if (id == last) AtomicOr(&counted, 1);
      penalise(id, p.seen_counts[i] + (id == last ? 1 : 0));
    }
    SyncThreads();
    if (thread == 0 && known(last) && counted == 0) penalise(last, 1);
    if (thread == 0) w.states[r].invalid = invalid;
  }
}

}  // namespace

int SampleAdjust(const SampleParams& p, Stream stream) {
  return Launch(AdjustKernel,
                {.grid = {static_cast<unsigned>(p.num_rows)},
                 .block = {kSampleThreads},
                 .shared_bytes = 0,
                 .early = p.any_logprobs},
                stream, p);
}

int code::LoadSampleAdjust() { return LoadKernels(AdjustKernel); }

}  // namespace inferd::cuda
