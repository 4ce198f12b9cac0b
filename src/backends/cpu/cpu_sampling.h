// The sampler of inferd/ops/sampling.h without sorting the vocabulary: vector
// passes find candidates, the shared rules decide among them, so the tokens are
// those of the reference.
#pragma once

#include <cstdint>
#include <span>

#include "inferd/ops/sampling.h"

namespace inferd {

// One thread's working memory.
struct CpuSamplerMemory {
  struct Candidate {
    float logit;
    TokenId id;
  };
  std::span<int32_t> counts;        // [vocab], all zero
  std::span<float> adjusted;        // [vocab]
  std::span<Candidate> candidates;  // [vocab]
  std::span<int32_t> ids;           // [vocab]

  static int64_t Bytes(int64_t vocab) { return vocab * 20; }
  // Lays the arrays out in `memory` (16-byte aligned) and clears the counts.
  static CpuSamplerMemory Place(std::byte* memory, int64_t vocab);
};

void CpuSampleRow(std::span<const float> logits, const SampleRow& row, CpuSamplerMemory& memory,
                  SampleOutput* out);

}  // namespace inferd
