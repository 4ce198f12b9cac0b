#pragma once

#include <memory>

#include "serve_load/options.h"
#include "serve_load/target.h"

namespace inferd::bench {

// /v1/completions of an HTTP server, streamed as server-sent events, with a
// thread per request in flight. Destruction joins them.
std::unique_ptr<Target> MakeOpenAiTarget(const LoadOptions& options);

}  // namespace inferd::bench
