// A CUDA runtime of the tests' own: the functions of cuda_runtime_api.h that the
// backend calls, on the CPU, with kernels run by the emulator. Linked instead of the
// real one, so that the backend's own sources run in every test machine.
//
// It is as unhelpful as a device may be:
//   - work is done as late as it can be: when the host waits for it, a piece at a time when
//     it only asks;
//   - device memory cannot be touched by the host: outside of work it is unmapped;
//   - an asynchronous copy takes pinned memory only;
//   - a thread's device is the first one until it says otherwise, and streams and events of
//     another are refused;
//   - a launch cannot be told from a failed one before the host waits;
//   - a kernel whose code was not asked for before (kernels/cuda/code.h) is refused;
//   - what failed once fails for ever.
// A process that has chosen a device holds a file named emulated-gpu until that is reset.
// Any thread, one at a time but while work waits for others; device memory can be touched
// by the host while another thread's work runs.
#pragma once

#include <cstdint>
#include <functional>

namespace inferd::testing {

// What every kernel takes, as timed events have it.
inline constexpr double kFakeKernelMs = 0.002;

struct FakeCudaCounts {
  int64_t calls = 0;  // of all functions
  int64_t device_allocations = 0;
  int64_t host_allocations = 0;
  int64_t device_bytes = 0;  // allocated now
  int64_t pinned_bytes = 0;  // likewise
  int64_t kernels = 0;       // run, those of graphs included
  int64_t launches = 0;      // kernels launched one by one
  int64_t graph_launches = 0;
  int64_t graphs_overlapped = 0;  // launched while an earlier one was not done
  int64_t graphs = 0;             // instantiated now
  int64_t graphs_refused = 0;     // see SetFakeGraphs
  int64_t library_products = 0;   // run by the stand-in of the matrix library
  int64_t device_us = 0;          // of the host's time, what the device's work took
  int64_t device_cpu_us = 0;      // of its processor time
};
FakeCudaCounts FakeCuda();

// Everything as at the start, with `total_bytes` of device memory. Nothing may be
// allocated.
void ResetFakeCuda(int64_t total_bytes = int64_t{1} << 30);

// From the `calls`-th call of any function from now on every call fails with
// `error`. 0: never.
void FailFakeCuda(int64_t calls, int error);
// What is asked each time device memory is taken, a kernel runs or a graph is launched: the
// error that comes of it, for ever, or 0. Of a kernel and a graph it comes when the device
// gets there. Any thread.
enum class FakeCudaEvent : uint8_t { kMemory, kKernel, kGraph };
void SetFakeCudaFault(std::function<int(FakeCudaEvent)> fault);
// How many graphs are made; of others the runtime says that it has no memory, which is of that
// call alone.
void SetFakeGraphs(int count);
// How many devices there are, and whether the driver is new enough.
void SetFakeDevices(int count, bool old_driver = false);
// The `nth` call of this kind from now on is refused, as of that call alone. 0: none is.
enum class FakeGraphCall : uint8_t { kBeginCapture, kEndCapture, kInstantiate, kUpload };
void RefuseFakeGraphCall(FakeGraphCall call, int nth);
// There is no more pinned memory than so much in all; of a call that wants more the runtime says
// so, which is of that call alone.
void SetFakePinnedBytes(int64_t most);
// Device memory is mapped all the time: for who takes times, not for tests.
void LeaveFakeMemoryMapped();
// Products of `rows` rows are refused by algorithms of the matrix library that were found for
// another number. 0: none are.
void SetFakeLibraryRefusal(uint64_t rows);

}  // namespace inferd::testing
