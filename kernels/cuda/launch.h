// What the host side of every kernel here shares: streams, sizes of grids, error
// codes. Needs neither the toolkit nor the emulator.
#pragma once

#include <cstddef>

struct CUstream_st;

namespace inferd::cuda {

// The toolkit's cudaStream_t; ignored in emulation.
using Stream = CUstream_st*;

// Host functions return 0 or a cudaError_t. The one they make up themselves:
inline constexpr int kBadArguments = 1;  // cudaErrorInvalidValue

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

struct LaunchShape {
  Dim3 grid;   // blocks
  Dim3 block;  // threads
  size_t shared_bytes = 0;
  // The kernel may start while its predecessor ends (programmatic dependent
  // launch): it calls WaitForPredecessor() before the first access to what any
  // kernel of the step writes.
  bool early = false;
};

}  // namespace inferd::cuda
