#pragma once

#include <memory>

#include "serve_load/options.h"
#include "serve_load/target.h"

namespace inferd::bench {

// CompletionService of an inferd, through callbacks: no thread per request.
std::unique_ptr<Target> MakeGrpcTarget(const LoadOptions& options);

}  // namespace inferd::bench
