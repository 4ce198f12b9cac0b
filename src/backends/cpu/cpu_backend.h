// The fast backend for host processors.
#pragma once

#include <memory>

#include "inferd/backends/backend.h"

namespace inferd {

StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options);

}  // namespace inferd
