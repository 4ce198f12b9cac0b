// Activation-aware scaling of weights before they are rounded (Lin et al., AWQ,
// 2023): inputs that tend to be large get finer weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/status.h"
#include "quantize/input_sample.h"
#include "quantize/matrix.h"
#include "quantize/output_error.h"
#include "quantize/rounding.h"

namespace inferd::quantize {

// Inputs that must be scaled alike: those of the heads that read one KV head.
// None with head_dim 0.
struct HeadSharing {
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 0;

  // The KV head's feature that input i comes from; i itself without sharing.
  int64_t Source(int64_t i) const;
};

struct SearchOptions {
  int64_t group = 128;
  int threads = 1;
};

// One factor per input, by which the weights are multiplied and the inputs
// divided, so that the outputs of `linears`, which share the inputs, change least
// by rounding; all 1 if no other choice is better. Each factor is
// mean|x|^alpha, or that over mean|w|^(1 - alpha), for 20 alphas in [0, 1).
StatusOr<std::vector<float>> SearchScales(std::span<Matrix* const> linears,
                                          const InputSample& sample, const HeadSharing& sharing,
                                          const SearchOptions& options, OutputError& error);

// weights[o][i] *= scales[i].
void ScaleInputs(Matrix& weights, std::span<const float> scales);
// x[i] /= scales[i].
void DivideInputs(InputSample& sample, std::span<const float> scales);

// A factor of at most 1 for the range of each group [out, in / group], so that
// the group's share of the outputs changes least by rounding; empty when the
// outputs as a whole are no better for it. `sample` holds the inputs as scaled.
StatusOr<std::vector<float>> SearchClip(const Matrix& weights, const InputSample& sample,
                                        const SearchOptions& options, OutputError& error);

// What rounding `weights` costs: OutputError of the weights less their rounded
// values, after dividing both by `scales` (empty: by 1). Infinite when they cannot
// be rounded.
StatusOr<double> RoundingError(const Matrix& weights, std::span<const float> scales,
                               const float* clip, const InputSample& sample,
                               const SearchOptions& options, OutputError& error);

}  // namespace inferd::quantize
