// Opens libinferd_cuda.so.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "inferd/backends/backend.h"

namespace inferd {

// The library beside the running program, or in ../lib/inferd seen from there.
// UNAVAILABLE, in one line, when there is no library, no driver, no GPU, or one
// that the library does not run on; FAILED_PRECONDITION when the library is of
// another build. The library stays open as long as the process.
StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const BackendOptions& options);

// The same, from the first of `candidates` that exists.
StatusOr<std::unique_ptr<Backend>> OpenCudaBackend(
    const std::vector<std::filesystem::path>& candidates, const BackendOptions& options);

// Whether the library is installed and the driver sees a GPU. Opens no library of
// ours and takes no memory of the device.
bool CudaIsUsable();

}  // namespace inferd
