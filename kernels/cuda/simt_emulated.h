// The face of simt.h under a host compiler: every function goes to the emulator.
// Include simt.h. Calls name the place they stand at, for reports and because all
// threads of a barrier must stand at the same one.
#pragma once

#include <cstring>

#include "cuda/emulator/emulator.h"
#include "cuda/launch.h"

#define SIMT_KERNEL(max_threads) [[maybe_unused]] static void
#define SIMT_KERNEL_BLOCKS(max_threads, blocks) [[maybe_unused]] static void
#define SIMT_DEVICE inline
#define SIMT_HOST_DEVICE inline
// The address of a static says which variable is meant, also in each instance of a
// template.
#define SIMT_SHARED(name, ...)                                                      \
  static const char simt_tag_##name = 0;                                            \
  auto& name = *static_cast<__VA_ARGS__*>(::inferd::cuda::emulator::SharedVariable( \
      &simt_tag_##name, sizeof(__VA_ARGS__), alignof(__VA_ARGS__)))
#define SIMT_DYNAMIC_SHARED(name) \
  unsigned char* const name = ::inferd::cuda::emulator::DynamicShared()
#define SIMT_UNROLL
#define SIMT_ASSERT(condition)                                                   \
  ((condition) ? (void)0                                                         \
               : ::inferd::cuda::emulator::Fail("assertion failed: " #condition, \
                                                ::inferd::cuda::emulator::Here()))

namespace inferd::cuda {

inline unsigned ThreadX() { return emulator::Self().thread.x; }
inline unsigned BlockX() { return emulator::Self().block.x; }
inline unsigned BlockY() { return emulator::Self().block.y; }
inline unsigned BlockZ() { return emulator::Self().block.z; }
inline unsigned BlockDimX() { return emulator::Self().block_dim.x; }
inline unsigned GridDimX() { return emulator::Self().grid_dim.x; }
inline unsigned GridDimY() { return emulator::Self().grid_dim.y; }

inline void SyncThreads(emulator::Place place = emulator::Here()) { emulator::BlockBarrier(place); }
inline void SyncWarp(uint32_t mask = kAllLanes, emulator::Place place = emulator::Here()) {
  emulator::WarpOperation operation{"SyncWarp", mask, place};
  operation.orders_memory = true;
  emulator::RunWarpOperation(operation, nullptr, nullptr);
}

namespace emulator {
// `source(lane, value of the argument)` names the lane whose value is taken.
template <class T>
T Shuffle(const char* name, T value, unsigned argument, uint32_t mask, Place place,
          unsigned (*source)(unsigned lane, unsigned argument)) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  struct In {
    T value;
    unsigned argument;
    unsigned (*source)(unsigned, unsigned);
  };
  const In in{value, argument, source};
  T out = value;
  WarpOperation operation{name, mask, place};
  operation.compute = [](const WarpLanes& lanes) {
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes.mask >> lane & 1) == 0) continue;
      const In& own = *static_cast<const In*>(lanes.in[lane]);
      const unsigned from = own.source(lane, own.argument);
      // A lane out of range keeps its own value; one outside the mask has none.
      if (from >= kWarpSize) continue;
      if ((lanes.mask >> from & 1) == 0) return "reads a lane outside the mask";
      std::memcpy(lanes.out[lane], &static_cast<const In*>(lanes.in[from])->value, sizeof(T));
    }
    return static_cast<const char*>(nullptr);
  };
  RunWarpOperation(operation, &in, &out);
  return out;
}
}  // namespace emulator

template <class T>
T Shfl(T value, unsigned lane, uint32_t mask = kAllLanes,
       emulator::Place place = emulator::Here()) {
  return emulator::Shuffle(
      "Shfl", value, lane, mask, place,
      +[](unsigned, unsigned argument) { return argument % kWarpSize; });
}
template <class T>
T ShflXor(T value, unsigned bits, uint32_t mask = kAllLanes,
          emulator::Place place = emulator::Here()) {
  return emulator::Shuffle(
      "ShflXor", value, bits, mask, place,
      +[](unsigned lane, unsigned argument) { return lane ^ argument; });
}
template <class T>
T ShflDown(T value, unsigned n, uint32_t mask = kAllLanes,
           emulator::Place place = emulator::Here()) {
  return emulator::Shuffle(
      "ShflDown", value, n, mask, place,
      +[](unsigned lane, unsigned argument) { return lane + argument; });
}
template <class T>
T ShflUp(T value, unsigned n, uint32_t mask = kAllLanes, emulator::Place place = emulator::Here()) {
  return emulator::Shuffle(
      "ShflUp", value, n, mask, place,
      +[](unsigned lane, unsigned argument) { return lane - argument; });
}
inline uint32_t Ballot(bool predicate, uint32_t mask = kAllLanes,
                       emulator::Place place = emulator::Here()) {
  uint32_t out = 0;
  emulator::WarpOperation operation{"Ballot", mask, place};
  operation.compute = [](const emulator::WarpLanes& lanes) {
    uint32_t votes = 0;
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes.mask >> lane & 1) != 0 && *static_cast<const bool*>(lanes.in[lane])) {
        votes |= 1U << lane;
      }
    }
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes.mask >> lane & 1) != 0) *static_cast<uint32_t*>(lanes.out[lane]) = votes;
    }
    return static_cast<const char*>(nullptr);
  };
  emulator::RunWarpOperation(operation, &predicate, &out);
  return out;
}

namespace emulator {
// `change(old)` is the new value. Other threads may run before and after.
template <class T, class Change>
T Atomic(T* address, Change change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  MaybeYield();
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  T next = change(old);
  __atomic_store(address, &next, __ATOMIC_RELAXED);
  MaybeYield();
  return old;
}
}  // namespace emulator

template <class T>
T AtomicAdd(T* address, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T AtomicMax(T* address, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T old) { return old < value ? value : old; });
}
template <class T>
T AtomicMin(T* address, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T old) { return value < old ? value : old; });
}
template <class T>
T AtomicOr(T* address, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T old) { return static_cast<T>(old | value); });
}
template <class T>
T AtomicExchange(T* address, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T) { return value; });
}
template <class T>
T AtomicCas(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return emulator::Atomic(address, [&](T old) { return old == expected ? value : old; });
}

inline void ThreadFence() { emulator::Fence(); }
inline void ThreadFenceBlock() { emulator::Fence(); }
inline void WaitForPredecessor() {}
inline void ReleaseSuccessor() {}

inline float ExactMultiply(float x, float y) { return x * y; }
inline float ExactAdd(float x, float y) { return x + y; }
// As the device's: the product is rounded, which costs large arguments some bits.
inline float FastExp(float x) { return std::exp2(x * 1.442695041F); }
inline float FastExp2(float x) { return std::exp2(x); }
inline float FastLog(float x) { return std::log(x); }
inline float FastDivide(float x, float y) { return x / y; }
inline float Rsqrt(float x) { return static_cast<float>(1.0 / std::sqrt(double{x})); }

template <class Params>
int Launch(void (*kernel)(Params), const LaunchShape& shape, Stream stream,
           const std::type_identity_t<Params>& params) {
  struct Call {
    void (*kernel)(Params);
    Params params;
  };
  static_assert(std::is_trivially_copyable_v<Call>);
  const Call call{kernel, params};
  return emulator::RunOrQueueGrid(
      stream, shape,
      [](const void* opaque) {
        const Call& c = *static_cast<const Call*>(opaque);
        c.kernel(c.params);
      },
      &call, sizeof(call));
}

template <class... Params>
int LoadKernels(void (*... kernels)(Params)) {
  int error = 0;
  const auto load = [&](const void* kernel) {
    if (error == 0) error = emulator::LoadKernel(kernel);
  };
  (load(reinterpret_cast<const void*>(kernels)), ...);
  return error;
}

}  // namespace inferd::cuda
