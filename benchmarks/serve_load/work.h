#pragma once

#include <cstdint>
#include <vector>

#include "serve_load/options.h"

namespace inferd::bench {

// One request to make: all that is decided before the run, so that it does not
// depend on it.
struct Work {
  std::vector<uint32_t> prompt;
  int32_t max_tokens = 0;
  uint64_t seed = 0;  // below 2^63
  double due = 0;     // seconds since the start of the run; open loop only
};

// Random token ids below `vocab_size`; a function of the options alone.
std::vector<Work> PlanWork(const LoadOptions& options, int32_t vocab_size);

}  // namespace inferd::bench
