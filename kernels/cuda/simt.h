// The layer all kernels of this folder are written against. Under nvcc it is the
// device's own functions (simt_device.h); under any other compiler it is an
// emulator that runs the same source on the CPU (simt_emulated.h), for tests.
//
// A kernel takes one struct by value and is launched by one template:
//
//   template <class T>
//   SIMT_KERNEL(256) ScaleKernel(ScaleParams p) {
//     SIMT_SHARED(sums, Array<float, 8>);       // a variable; no constructor
//     SIMT_DYNAMIC_SHARED(bytes);               // unsigned char*, 128-byte aligned
//     const unsigned i = BlockX() * BlockDimX() + ThreadX();
//     ...
//   }
//   return Launch(ScaleKernel<float>, {.grid = {8}, .block = {256}}, stream, params);
//
// Both faces have
//   SIMT_KERNEL(max_threads), SIMT_KERNEL_BLOCKS(max_threads, blocks_per_multiprocessor),
//   SIMT_DEVICE, SIMT_HOST_DEVICE             functions (inlined)
//   SIMT_SHARED(name, type), SIMT_DYNAMIC_SHARED(name)
//   SIMT_UNROLL                               before a loop
//   SIMT_ASSERT(condition)                    checked in emulation only
//   ThreadX() BlockX() BlockY() BlockZ() BlockDimX() GridDimX() GridDimY() Lane() Warp()
//   SyncThreads(), SyncWarp(mask)
//   Shfl(value, lane, mask), ShflXor(value, bits, mask), ShflDown(value, n, mask),
//   ShflUp(value, n, mask), Ballot(predicate, mask)   values of 4 or 8 bytes
//   AtomicAdd AtomicMax AtomicMin AtomicExchange AtomicCas AtomicOr (address, value)
//   ThreadFence(), ThreadFenceBlock()
//   WaitForPredecessor(), ReleaseSuccessor()  programmatic dependent launch
//   ExactMultiply ExactAdd                    on float, never fused
//   FastExp FastExp2 FastLog FastDivide Rsqrt on float, within a few ulp
//   Launch(kernel, shape, stream, params)
// and on top of them async_copy.h (cp.async), mma.h (ldmatrix, mma.sync), number.h
// (bf16, f16, e4m3), vec.h, reduce.h. docs/cuda.md says what emulation proves.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cuda/launch.h"

namespace inferd::cuda {
inline constexpr unsigned kWarpSize = 32;
inline constexpr uint32_t kAllLanes = 0xFFFFFFFFU;
// An array that may be shared memory: no constructor.
template <class T, int kSize>
struct Array;
}  // namespace inferd::cuda

#ifdef __CUDACC__
#include "cuda/simt_device.h"
#else
#include "cuda/simt_emulated.h"
#endif

namespace inferd::cuda {

template <class T, int kSize>
struct Array {
  T values[kSize];
  SIMT_HOST_DEVICE T& operator[](int i) { return values[i]; }
  SIMT_HOST_DEVICE const T& operator[](int i) const { return values[i]; }
};

SIMT_DEVICE unsigned Lane() { return ThreadX() % kWarpSize; }
SIMT_DEVICE unsigned Warp() { return ThreadX() / kWarpSize; }

}  // namespace inferd::cuda
