#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "inferd/ops/step.h"

namespace inferd {

// The step of one sequence that has the cache to itself, in blocks 1, 2, …: what
// offline passes over a text give the ops. One thread.
class SoloStep {
 public:
  // `tokens` follow `position` earlier ones and outlive the step; `sample_rows` are
  // rows of it.
  SoloStep(std::span<const TokenId> tokens, int32_t position, int32_t block_size,
           std::vector<int32_t> sample_rows);

  // Valid as long as this object.
  StepInputs inputs() const;

 private:
  std::span<const TokenId> tokens_;
  std::vector<int32_t> positions_;
  std::vector<BlockId> table_;
  std::vector<int32_t> sample_rows_;
  std::array<int32_t, 2> row_start_;
  std::array<int32_t, 1> context_len_;
};

}  // namespace inferd
