// The backend on one GPU, as the library's entry and tests create it.
#pragma once

#include <memory>

#include "inferd/backends/backend.h"

namespace inferd {

// UNAVAILABLE, in one line, when there is no GPU it runs on.
StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options);

}  // namespace inferd
