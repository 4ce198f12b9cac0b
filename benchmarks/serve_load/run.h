#pragma once

#include <cstdint>

#include "serve_load/options.h"
#include "serve_load/record.h"
#include "serve_load/target.h"

namespace inferd::bench {

// Offers the load to `target` and waits for every answer. Prompts are random
// token ids below `vocab_size`, a function of the seed alone.
RunRecord RunLoad(const LoadOptions& options, int32_t vocab_size, Target& target);

}  // namespace inferd::bench
