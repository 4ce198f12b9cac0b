// The sampler as inferd/ops/sampling.h words it, step by step.
#pragma once

#include <span>
#include <vector>

#include "inferd/ops/sampling.h"

namespace inferd {

// Memory the sampler keeps from row to row.
struct RefSamplerMemory {
  std::vector<int32_t> counts;  // [vocab], all zero
  std::vector<TokenId> order;   // [vocab]
  std::vector<float> raw;       // [vocab]
};

void RefSampleRow(std::span<float> logits, const SampleRow& row, RefSamplerMemory* memory,
                  SampleOutput* out);

}  // namespace inferd
