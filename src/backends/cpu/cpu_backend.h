// The fast backend for host processors.
#pragma once

#include <memory>
#include <optional>

#include "backends/cpu/cpu_features.h"
#include "inferd/backends/backend.h"

namespace inferd {

// FAILED_PRECONDITION on a processor that the kernels were not compiled for; then
// no kernel has run, and neither memory nor threads were taken.
StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options);
// The same on a processor that is as `cpu` says.
StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const BackendOptions& options,
                                                    const std::optional<CpuidRegisters>& cpu);

}  // namespace inferd
