// What the stand-ins of CUDA's libraries need of the fake runtime.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <functional>

namespace inferd::testing {

// Work of a library on a stream, which takes so long by the stream's clock; it may touch
// device memory. It answers 0, an error, or cudaErrorNotReady, and is asked again then. A
// graph begins with a copy of it each time. Answers 0 or an error itself.
int PutFakeWork(cudaStream_t stream, double milliseconds, std::function<int()> work);
void CountFakeProduct();
bool IsFakeDeviceMemory(const void* data, size_t bytes);

}  // namespace inferd::testing
