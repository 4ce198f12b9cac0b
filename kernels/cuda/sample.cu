// Scan: the largest logit of a row, which is all that greedy rows need. Rank: top_k,
// then top_p. Draw: the largest of l / T - log(-log(u)). Scan and Draw share a row
// among blocks of 8192 columns; the last to arrive joins their parts.
#include "cuda/sample.h"

#include "cuda/code.h"
#include "cuda/philox.h"
#include "cuda/sample_select.h"
#include "cuda/sample_steps.h"

namespace inferd::cuda {
namespace {

// -log(-log(u)) is no larger than this for any u.
constexpr double kGumbelMax = 16.64;
// Of f32 scores that matter; larger than their error.
constexpr float kScoreMargin = 1e-3F;
// A weight of 1, in the units they are added in: 2^20 of them fit.
constexpr float kWeightOne = 0x1p43F;

SIMT_DEVICE double GumbelScore(double tempered, float u) {
  return tempered - log(-log(static_cast<double>(u)));
}
SIMT_DEVICE double ScoreOf(const SampleSpec& spec, float logit, float max, int32_t id) {
  const auto draw = static_cast<uint32_t>(id);
  const PhiloxBlock block = Philox(spec.seed, spec.position, draw / 4);
  return GumbelScore(Tempered(logit, max, spec.temperature),
                     UniformFromWord(block.words[draw % 4]));
}

// The smallest key that min_p leaves: of the least logit l with Tempered(l) >= cutoff,
// by bisection over all floats up to `max`, which passes.
SIMT_DEVICE uint64_t MinPKey(const SampleSpec& spec, float max) {
  if (!(spec.min_p_cutoff > -1e300)) return 0;
  uint32_t low = 0;
  uint32_t high = OrderOf(max);
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const float logit = FloatOfOrder(middle);
    // Patterns below those of numbers are NaN, and do not pass.
    if (Tempered(logit, max, spec.temperature) >= spec.min_p_cutoff) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return uint64_t{high} << 32;
}

SIMT_DEVICE void WriteResult(const SampleParams& p, const SampleWorkspace& w, int32_t r,
                             const SampleSpec& spec, int32_t token) {
  if (spec.slot >= 0) p.drawn[spec.slot] = token < 0 ? 0 : token;
  SampleResult result;
  result.token = token;
  result.corrupted = token < 0 ? 1 : 0;
  if (token >= 0 && spec.logprobs >= 0) {
    const float* const raw = IsAdjusted(spec) ? w.raw : p.logits;
    result.logprob = static_cast<float>(
        static_cast<double>(raw[int64_t{r} * p.vocabulary + token]) - w.states[r].log_sum);
    result.num_top = spec.logprobs < p.vocabulary ? spec.logprobs : p.vocabulary;
  }
  p.results[r] = result;
}

// Brings a block's part of the row. The last block gets true, in all threads, with all
// parts to see; the others false.
SIMT_DEVICE bool BringPart(const SampleWorkspace& w, int32_t r, const RowPart& part,
                           int32_t& shared_flag) {
  const auto parts = static_cast<int32_t>(GridDimX());
  if (ThreadX() == 0) {
    w.parts[int64_t{r} * parts + BlockX()] = part;
    ThreadFence();
    const bool last = AtomicAdd(w.arrivals + r, 1) == parts - 1;
    if (last) w.arrivals[r] = 0;
    ThreadFence();
    shared_flag = last ? 1 : 0;
  }
  SyncThreads();
  return shared_flag != 0;
}

SIMT_DEVICE RowPart JoinParts(const SampleWorkspace& w, int32_t r) {
  const auto parts = static_cast<int32_t>(GridDimX());
  RowPart all = w.parts[int64_t{r} * parts];
  for (int32_t i = 1; i < parts; ++i) {
    const RowPart part = w.parts[int64_t{r} * parts + i];
    if (IsBetter(part.best, all.best)) all.best = part.best;
    all.invalid |= part.invalid;
  }
  return all;
}

SIMT_KERNEL(kSampleThreads)
ScanKernel(SampleParams p) {
  SIMT_SHARED(bests, Array<Best<float>, kSampleWarps>);
  SIMT_SHARED(invalids, Array<int32_t, kSampleWarps>);
  SIMT_SHARED(last, int32_t);
  const auto r = static_cast<int32_t>(BlockY());
  const SampleWorkspace w = WorkspaceOf(p.workspace, p.max_rows, p.vocabulary);
  const auto begin = static_cast<int32_t>(BlockX()) * kPartColumns;
  const int32_t end = begin + kPartColumns < p.vocabulary ? begin + kPartColumns : p.vocabulary;
  ReleaseSuccessor();
  WaitForPredecessor();
  const SampleSpec spec = p.specs[r];
  Best<float> best = {-FloatFromBits(0x7F800000U), INT32_MAX};
  int32_t invalid = 0;
  ForLogits(p.logits + int64_t{r} * p.vocabulary, begin, end,
            [&](int32_t id, const float(&v)[4], int32_t count) {
              SIMT_UNROLL
              for (int j = 0; j < 4; ++j) {
                if (j >= count) continue;
                if (IsInvalid(v[j])) invalid = 1;
                const Best<float> own = {v[j], id + j};
                if (IsBetter(own, best)) best = own;
              }
            });
  invalid = BlockReduce(invalid, &invalids[0], MaxOperation{});
  best = BlockBest(best, &bests[0]);
  if (BringPart(w, r, {{static_cast<double>(best.value), best.id}, invalid}, last) &&
      ThreadX() == 0) {
    const RowPart all = JoinParts(w, r);
    RowState& state = w.states[r];
    const bool adjusted_invalid = IsAdjusted(spec) && state.invalid != 0;
    const auto max = static_cast<float>(all.best.value);
    state.max = max;
    state.best = all.best.id;
    state.least_key = 0;
    state.done = 1;
    if (all.invalid != 0 || adjusted_invalid || max < -3.4028235e38F) {
      WriteResult(p, w, r, spec, -1);
    } else if (!(spec.temperature > 0)) {
      WriteResult(p, w, r, spec, all.best.id);
    } else {
      state.done = 0;
      state.least_key = MinPKey(spec, max);
    }
  }
}

SIMT_KERNEL(kSampleThreads)
RankKernel(SampleParams p) {
  SIMT_SHARED(selection, Selection);
  const auto r = static_cast<int32_t>(BlockX());
  const SampleWorkspace w = WorkspaceOf(p.workspace, p.max_rows, p.vocabulary);
  ReleaseSuccessor();
  WaitForPredecessor();
  const SampleSpec spec = p.specs[r];
  const RowState state = w.states[r];
  if (state.done == 0 && (spec.top_k > 0 || spec.top_p < 1)) {
    const float* const row = p.logits + int64_t{r} * p.vocabulary;
    uint64_t least = state.least_key;
    if (spec.top_k > 0 && spec.top_k < p.vocabulary) {
      const auto k = static_cast<uint64_t>(spec.top_k);
      least =
          SelectKey(row, p.vocabulary, least, selection, OneEach{}, [&](uint64_t) { return k; });
    }
    if (spec.top_p < 1) {
      least = SelectKey(
          row, p.vocabulary, least, selection,
          [&](float logit) {
            const double tempered = Tempered(logit, state.max, spec.temperature);
            return static_cast<uint64_t>(expf(static_cast<float>(tempered)) * kWeightOne);
          },
          [&](uint64_t total) {
            const double wanted = static_cast<double>(spec.top_p) * static_cast<double>(total);
            // At least one token stays.
            return wanted < 1 ? uint64_t{1} : static_cast<uint64_t>(ceil(wanted));
          });
    }
    SyncThreads();  // all have read the state
    if (ThreadX() == 0) w.states[r].least_key = least;
  }
}

SIMT_KERNEL(kSampleThreads)
DrawKernel(SampleParams p) {
  SIMT_SHARED(bests, Array<Best<double>, kSampleWarps>);
  SIMT_SHARED(last, int32_t);
  const auto r = static_cast<int32_t>(BlockY());
  const SampleWorkspace w = WorkspaceOf(p.workspace, p.max_rows, p.vocabulary);
  const SampleSpec& spec = p.specs[r];  // not a copy: registers are scarce here
  const auto begin = static_cast<int32_t>(BlockX()) * kPartColumns;
  const int32_t end = begin + kPartColumns < p.vocabulary ? begin + kPartColumns : p.vocabulary;
  ReleaseSuccessor();
  WaitForPredecessor();
  const RowState state = w.states[r];
  if (state.done == 0) {
    const float inverse = 1.0F / spec.temperature;
    // The likeliest token sets a high bar at once.
    Best<double> best = {ScoreOf(spec, state.max, state.max, state.best), state.best};
    ForLogits(p.logits + int64_t{r} * p.vocabulary, begin, end,
              [&](int32_t id, const float(&v)[4], int32_t count) {
                // What may win, by f32; NaN may.
                const auto bar = static_cast<float>(best.value) - kScoreMargin;
                bool any = false;
                bool near[4];
                SIMT_UNROLL
                for (int j = 0; j < 4; ++j) {
                  near[j] = j < count && KeyOf(v[j], id + j) >= state.least_key &&
                            !((v[j] - state.max) * inverse + static_cast<float>(kGumbelMax) < bar);
                  any = any || near[j];
                }
                if (!any) return;
                const PhiloxBlock block =
                    Philox(spec.seed, spec.position, static_cast<uint32_t>(id) / 4);
                SIMT_UNROLL
                for (int j = 0; j < 4; ++j) {
                  const float u = UniformFromWord(block.words[j]);
                  if (!near[j] || (v[j] - state.max) * inverse - logf(-logf(u)) < bar) continue;
                  const Best<double> own = {
                      GumbelScore(Tempered(v[j], state.max, spec.temperature), u), id + j};
                  if (IsBetter(own, best)) best = own;
                }
              });
    best = BlockBest(best, &bests[0]);
    if (BringPart(w, r, {best, 0}, last) && ThreadX() == 0) {
      WriteResult(p, w, r, spec, JoinParts(w, r).best.id);
    }
  }
}

LaunchShape OverParts(const SampleParams& p, bool early) {
  return {.grid = {static_cast<unsigned>(PartsOf(p.vocabulary)), static_cast<unsigned>(p.num_rows)},
          .block = {kSampleThreads},
          .shared_bytes = 0,
          .early = early};
}

}  // namespace

int SampleScan(const SampleParams& p, Stream stream) {
  return Launch(ScanKernel, OverParts(p, p.any_logprobs || p.any_adjusted), stream, p);
}

int SampleRank(const SampleParams& p, Stream stream) {
  return Launch(RankKernel,
                {.grid = {static_cast<unsigned>(p.num_rows)},
                 .block = {kSampleThreads},
                 .shared_bytes = 0,
                 .early = true},
                stream, p);
}

int SampleDraw(const SampleParams& p, Stream stream) {
  return Launch(DrawKernel, OverParts(p, true), stream, p);
}

size_t SampleWorkspaceBytes(int32_t max_rows, int32_t vocabulary, bool with_raw) {
  const SampleWorkspace w = WorkspaceOf(nullptr, max_rows, vocabulary);
  const size_t raw =
      static_cast<size_t>(max_rows) * static_cast<size_t>(vocabulary) * sizeof(float);
  return w.bytes + (with_raw ? raw : 0);
}

int Sample(const SampleParams& p, Stream stream) {
  if (p.num_rows == 0) return 0;
  if (p.num_rows > p.max_rows || p.vocabulary <= 0 || p.vocabulary > 1 << 20) return kBadArguments;
  int code = 0;
  if (p.any_logprobs) code = SampleLogprobs(p, stream);
  if (code == 0 && p.any_adjusted) code = SampleAdjust(p, stream);
  if (code == 0) code = SampleScan(p, stream);
  if (code == 0 && p.any_drawn && p.any_ranked) code = SampleRank(p, stream);
  if (code == 0 && p.any_drawn) code = SampleDraw(p, stream);
  return code;
}

int code::LoadSample() { return LoadKernels(ScanKernel, RankKernel, DrawKernel); }

}  // namespace inferd::cuda
