#pragma once

#include <cstdint>

namespace inferd::runtime {

// How long ranks may wait for each other within a step: a stage for those before it, and
// all for a rank that is slow. Whether a step hangs is decided by its pace, not here.
inline constexpr int64_t kGroupTimeoutUs = 3'600'000'000;

}  // namespace inferd::runtime
