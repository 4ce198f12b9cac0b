// The kernels Sample is made of, in their order.
#pragma once

#include "cuda/sample.h"

namespace inferd::cuda {

// Of the logits as they came.
int SampleLogprobs(const SampleParams& params, Stream stream);
// Bias, banned tokens, penalties.
int SampleAdjust(const SampleParams& params, Stream stream);
// The largest logit, validity, greedy rows.
int SampleScan(const SampleParams& params, Stream stream);
// What top_k and top_p leave.
int SampleRank(const SampleParams& params, Stream stream);
// The draw.
int SampleDraw(const SampleParams& params, Stream stream);

}  // namespace inferd::cuda
