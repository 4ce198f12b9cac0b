// Runs kernels written against cuda/simt.h on the CPU, for tests.
//
// A block's threads are fibers of the calling thread, switched where they wait for
// each other, in an order drawn from a seed; blocks run one after another, in a
// drawn order as well. So what a missing barrier leaves undefined differs from seed
// to seed. Shared memory begins as 0xFF bytes (NaN in every format here) between
// guard bytes; asynchronous copies arrive only when they are waited for, and what
// they will overwrite is 0xFF from their issue on.
//
// Reported as errors of the launch: barriers or warp operations that some threads do
// not reach, or reach at different places or with different masks; shuffles from lanes
// outside the mask; writes around shared memory; misaligned vectors and copies;
// copies never waited for; blocks that spin. Blocks that wait for one another cannot
// be run. One launch at a time in a thread; what is kept is kept per thread.
//
// What is marked `for tests` and `for Launch` is also what tests/kernels/cuda/ptx has, which
// interprets nvcc's PTX of the kernels: a program links one of the two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/launch.h"

namespace inferd::cuda::emulator {

// What RunGrid answers for a kernel found wrong: cudaErrorLaunchFailure.
inline constexpr int kKernelError = 719;

// ---- for tests ----

// Orders of the launches that follow in this thread.
void SetSeed(uint64_t seed);
// What was wrong with the last kernel that failed in this thread.
const std::string& LastError();

// ---- for simt.h and its companions, within kernels ----

struct Place {
  const char* file;
  int line;
};
// As a default argument: where the function is called.
constexpr Place Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return {file, line};
}

struct ThreadIndex {
  Dim3 thread;
  Dim3 block;
  Dim3 block_dim;
  Dim3 grid_dim;
  unsigned linear;  // within the block
};
// The thread that runs.
const ThreadIndex& Self();

// Ends the launch with an error; does not come back.
[[noreturn]] void Fail(const char* message, Place place);
// Lets other threads run, or not.
void MaybeYield();
// What was written before becomes visible to who fences after reading (only the
// race detector sees it).
void Fence();
void BlockBarrier(Place place);

// What the lanes of a mask do together; `compute` runs once when all have come.
struct WarpLanes {
  uint32_t mask;
  const void* in[32];
  void* out[32];
};
struct WarpOperation {
  const char* name;
  uint32_t mask;
  Place place;
  // Null or what is wrong.
  const char* (*compute)(const WarpLanes& lanes) = nullptr;
  bool orders_memory = false;
};
void RunWarpOperation(const WarpOperation& operation, const void* in, void* out);

// The block's shared variable that `tag` stands for.
void* SharedVariable(const void* tag, size_t bytes, size_t alignment);
unsigned char* DynamicShared();

// The first `valid` of `bytes` are copied, the rest become zero.
void AsyncCopy(void* to, const void* from, size_t bytes, size_t valid, Place place);
void AsyncCommit();
// Waits until at most `pending` of the committed groups are outstanding.
void AsyncWait(unsigned pending);

// ---- for Launch ----

int RunGrid(const LaunchShape& shape, void (*invoke)(const void* call), const void* call);

// Takes launches on streams, to run them later with RunGrid: the `bytes` of `call` are
// to be copied, and begin with what tells its kernel from others. Without a sink, and without
// a stream, a launch runs at once.
using LaunchSink = int (*)(Stream stream, const LaunchShape& shape,
                           void (*invoke)(const void* call), const void* call, size_t bytes);
void SetLaunchSink(LaunchSink sink);  // of all threads
int RunOrQueueGrid(Stream stream, const LaunchShape& shape, void (*invoke)(const void* call),
                   const void* call, size_t bytes);

// Takes what LoadKernels asks the code of, named as launches name it.
using LoadSink = int (*)(const void* kernel);
void SetLoadSink(LoadSink sink);  // of all threads
int LoadKernel(const void* kernel);

}  // namespace inferd::cuda::emulator
