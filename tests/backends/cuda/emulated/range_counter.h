// What the tests' profiler heard.
#pragma once

#include <cstdint>

struct RangeCounts {
  int64_t steps = 0;
  int64_t records = 0;
  int64_t layers = 0;
  int64_t token_sum = 0;  // payloads of steps and records
  int64_t layer_sum = 0;  // of layers
  int open = 0;
  int deepest = 0;  // since it was last asked
};
using RangeCountsFunction = void (*)(RangeCounts*);
