// The kernels Sample is made of, in their order. The first of a step follows the copy of
// what it is given and starts when that is done; the others may start while the one
// before them ends, and those that are never first read what was copied at once.
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
