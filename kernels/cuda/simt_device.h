// The face of simt.h under nvcc. Include simt.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>

#include "cuda/launch.h"

#define SIMT_KERNEL(max_threads) static __global__ void __launch_bounds__(max_threads)
#define SIMT_KERNEL_BLOCKS(max_threads, blocks) \
  static __global__ void __launch_bounds__(max_threads, blocks)
#define SIMT_DEVICE __device__ __forceinline__
#define SIMT_HOST_DEVICE __host__ __device__ __forceinline__
#define SIMT_SHARED(name, ...) __shared__ __VA_ARGS__ name
#define SIMT_DYNAMIC_SHARED(name)                                       \
  extern __shared__ __align__(128) unsigned char simt_dynamic_shared[]; \
  unsigned char* const name = simt_dynamic_shared
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_ASSERT(condition) ((void)0)

namespace inferd::cuda {

SIMT_DEVICE unsigned ThreadX() { return threadIdx.x; }
SIMT_DEVICE unsigned BlockX() { return blockIdx.x; }
SIMT_DEVICE unsigned BlockY() { return blockIdx.y; }
SIMT_DEVICE unsigned BlockZ() { return blockIdx.z; }
SIMT_DEVICE unsigned BlockDimX() { return blockDim.x; }
SIMT_DEVICE unsigned GridDimX() { return gridDim.x; }
SIMT_DEVICE unsigned GridDimY() { return gridDim.y; }

SIMT_DEVICE void SyncThreads() { __syncthreads(); }
SIMT_DEVICE void SyncWarp(uint32_t mask = kAllLanes) { __syncwarp(mask); }

template <class T>
SIMT_DEVICE T Shfl(T value, unsigned lane, uint32_t mask = kAllLanes) {
  return __shfl_sync(mask, value, static_cast<int>(lane));
}
template <class T>
SIMT_DEVICE T ShflXor(T value, unsigned bits, uint32_t mask = kAllLanes) {
  return __shfl_xor_sync(mask, value, static_cast<int>(bits));
}
template <class T>
SIMT_DEVICE T ShflDown(T value, unsigned n, uint32_t mask = kAllLanes) {
  return __shfl_down_sync(mask, value, n);
}
template <class T>
SIMT_DEVICE T ShflUp(T value, unsigned n, uint32_t mask = kAllLanes) {
  return __shfl_up_sync(mask, value, n);
}
SIMT_DEVICE uint32_t Ballot(bool predicate, uint32_t mask = kAllLanes) {
  return __ballot_sync(mask, predicate);
}

namespace detail {
// The toolkit's overloads name 64-bit integers by `long long`.
template <class T>
SIMT_DEVICE auto* Native(T* address) {
  if constexpr (std::is_same_v<T, uint64_t>) {
    return reinterpret_cast<unsigned long long*>(address);
  } else {
    return address;
  }
}
}  // namespace detail
template <class T>
SIMT_DEVICE T AtomicAdd(T* address, std::type_identity_t<T> value) {
  return atomicAdd(detail::Native(address), value);
}
template <class T>
SIMT_DEVICE T AtomicMax(T* address, std::type_identity_t<T> value) {
  return atomicMax(detail::Native(address), value);
}
template <class T>
SIMT_DEVICE T AtomicMin(T* address, std::type_identity_t<T> value) {
  return atomicMin(detail::Native(address), value);
}
template <class T>
SIMT_DEVICE T AtomicOr(T* address, std::type_identity_t<T> value) {
  return atomicOr(detail::Native(address), value);
}
template <class T>
SIMT_DEVICE T AtomicExchange(T* address, std::type_identity_t<T> value) {
  return atomicExch(detail::Native(address), value);
}
template <class T>
SIMT_DEVICE T AtomicCas(T* address, std::type_identity_t<T> expected,
                        std::type_identity_t<T> value) {
  return atomicCAS(detail::Native(address), expected, value);
}

SIMT_DEVICE void ThreadFence() { __threadfence(); }
SIMT_DEVICE void ThreadFenceBlock() { __threadfence_block(); }

SIMT_DEVICE void WaitForPredecessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
SIMT_DEVICE void ReleaseSuccessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// One rounding each: never fused with what they are added to.
SIMT_DEVICE float ExactMultiply(float x, float y) { return __fmul_rn(x, y); }
SIMT_DEVICE float ExactAdd(float x, float y) { return __fadd_rn(x, y); }
SIMT_DEVICE float FastExp(float x) { return __expf(x); }
SIMT_DEVICE float FastExp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SIMT_DEVICE float FastLog(float x) { return __logf(x); }
SIMT_DEVICE float FastDivide(float x, float y) { return __fdividef(x, y); }
SIMT_DEVICE float Rsqrt(float x) { return rsqrtf(x); }

// INFERD_EARLY_LAUNCH=0 in the environment: no kernel begins before its predecessor has ended.
// Where a result or a hang is in doubt; also in graphs.
inline bool EarlyLaunchAllowed() {
  static const bool allowed = [] {
    const char* const value = std::getenv("INFERD_EARLY_LAUNCH");
    return value == nullptr || value[0] != '0';
  }();
  return allowed;
}

template <class Params>
int Launch(void (*kernel)(Params), const LaunchShape& shape, Stream stream,
           const std::type_identity_t<Params>& params) {
  // Above this a kernel has to ask once; it is a cheap call, also in a capture.
  constexpr size_t kPlainSharedBytes = 48 * 1024;
  if (shape.shared_bytes > kPlainSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
    // As many blocks at once as the shared memory holds; a hint, whose refusal is no error.
    (void)cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = {shape.grid.x, shape.grid.y, shape.grid.z};
  config.blockDim = {shape.block.x, shape.block.y, shape.block.z};
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = shape.early && EarlyLaunchAllowed() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, params);
}

// The kernels' code to the thread's device; nothing is run.
template <class... Params>
int LoadKernels(void (*... kernels)(Params)) {
  cudaFuncAttributes attributes;
  cudaError_t error = cudaSuccess;
  const auto load = [&](const void* kernel) {
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
  };
  (load(reinterpret_cast<const void*>(kernels)), ...);
  return error;
}

}  // namespace inferd::cuda
