// The reference backend: scalar code that says what every op means.
#pragma once

#include <memory>

#include "inferd/backends/backend.h"

namespace inferd {

StatusOr<std::unique_ptr<Backend>> CreateRefBackend(const BackendOptions& options);

}  // namespace inferd
