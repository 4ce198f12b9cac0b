#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "inferd/base/status.h"

namespace inferd {

// Waits for a device in place of the runtime, whose own waits end when the device is done
// and never before. The rank's thread.
class DeviceWaiter {
 public:
  virtual ~DeviceWaiter() = default;
  // Until `query` answers something else than cudaErrorNotReady, which is put into `code`;
  // or an error, when there is no point in waiting any longer.
  virtual Status Await(const std::function<cudaError_t()>& query, cudaError_t* code) = 0;
  // What the device answered somebody who only asks, again and again. True when there is no
  // point in asking any more.
  virtual bool Hear(cudaError_t answer) = 0;
};

}  // namespace inferd
