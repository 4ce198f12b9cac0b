// The runtime's errors in words.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "inferd/base/status.h"

namespace inferd {

// "NAME: what it means".
inline std::string CudaErrorText(int code) {
  const auto error = static_cast<cudaError_t>(code);
  return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
}

// Of what a rank cannot begin without.
inline Status CudaStartError(int code, const char* what) {
  return UnavailableError(std::string("cuda: ") + what + ": " + CudaErrorText(code));
}

}  // namespace inferd
