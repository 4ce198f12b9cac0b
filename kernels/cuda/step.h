// What a step needs to know lives on the device from step to step; the host sends
// what changed.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace inferd::cuda {

// words[at[i]] = values[i] for i < count. No word is named twice.
struct DeltaParams {
  int32_t* words = nullptr;
  const int32_t* at = nullptr;
  const int32_t* values = nullptr;
  int32_t count = 0;
};
int ApplyDeltas(const DeltaParams& params, Stream stream);

}  // namespace inferd::cuda
