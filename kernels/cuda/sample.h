// From logits to tokens, as inferd/ops/sampling.h words it. Host functions that
// enqueue on `stream`; each returns 0 or a cudaError_t.
//
// Nothing is sorted: ranks are found by radix selection on (logit, id), 11 bits a pass,
// by counts for top_k and by sums of weights for top_p. Weights are added as integers
// in units of 2^-43, so that no order of additions shows. Draws are Gumbel-max with
// Philox keyed by seed, position and token; scores that may win are computed in double.
// Floor: one reading of the logits, 4 * vocabulary bytes / 3 TB/s a row (0.17 us for
// 128256 tokens); greedy rows need no more, others two to nine readings out of L2.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/launch.h"

namespace inferd::cuda {

// A row's parameters. Ranges [begin, end) point into the arrays of SampleParams.
struct SampleSpec {
  float temperature = 1.0F;
  float top_p = 1.0F;
  // log(min_p), at most 0; -infinity for none.
  double min_p_cutoff = 0;
  int32_t top_k = 0;
  int32_t logprobs = -1;  // at most kMaxLogprobs
  float repetition_penalty = 1.0F;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int32_t bias_begin = 0;
  int32_t bias_end = 0;
  int32_t banned_begin = 0;
  int32_t banned_end = 0;
  int32_t seen_begin = 0;
  int32_t seen_end = 0;
  uint64_t seed = 0;
  uint64_t position = 0;
  int32_t slot = -1;      // of SampleParams::drawn, where the token goes; -1: nowhere
  int32_t sees_slot = 0;  // 1: what is there now is one more token of the history, drawn
};
inline constexpr int32_t kMaxLogprobs = 128;

struct SampleResult {
  int32_t token = -1;
  int32_t corrupted = 1;
  float logprob = 0;
  int32_t num_top = 0;
};

struct SampleParams {
  float* logits = nullptr;  // [num_rows, vocabulary], overwritten
  int32_t vocabulary = 0;
  int32_t num_rows = 0;
  const SampleSpec* specs = nullptr;  // [num_rows]
  const int32_t* bias_ids = nullptr;
  const float* bias_values = nullptr;
  const int32_t* banned_ids = nullptr;
  const int32_t* seen_ids = nullptr;     // of the history, each token once
  const int32_t* seen_counts = nullptr;  // how often in its output part
  int32_t* drawn = nullptr;              // by slot; 0 after a corrupted row
  SampleResult* results = nullptr;       // [num_rows]
  int32_t* top_ids = nullptr;            // [num_rows, kMaxLogprobs]
  float* top_logprobs = nullptr;
  void* workspace = nullptr;  // SampleWorkspaceBytes(max_rows, ..); zeros at the first use
  int32_t max_rows = 0;
  // Which kernels are needed, over all rows.
  bool any_logprobs = false;
  bool any_adjusted = false;  // bias, banned tokens, penalties
  bool any_drawn = false;     // temperature above 0
  bool any_ranked = false;    // top_k or top_p
};

// For up to `max_rows` rows; `with_raw`: rows may be adjusted and want logprobs.
size_t SampleWorkspaceBytes(int32_t max_rows, int32_t vocabulary, bool with_raw);
int Sample(const SampleParams& params, Stream stream);

}  // namespace inferd::cuda
