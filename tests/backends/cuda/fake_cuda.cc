#include "backends/cuda/fake_cuda.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "backends/cuda/fake_stream.h"
#include "cuda/emulator/emulator.h"
#include "inferd/base/check.h"
#include "inferd/base/unique_fd.h"

namespace inferd::testing {
namespace {

using Work = std::function<cudaError_t()>;

struct FakeGraph {
  std::vector<Work> work;
};

struct FakeStream {
  int device = 0;
  std::deque<Work> queue;
  int64_t done = 0;    // entries of the queue that ran, ever
  int64_t queued = 0;  // that were put there
  FakeGraph* capture = nullptr;
  int64_t graph_end = 0;    // of the last graph launched
  double milliseconds = 0;  // that work took, as far as it says so
};

struct FakeEvent {
  bool timed = false;
  std::shared_ptr<double> milliseconds = std::make_shared<double>(0);
  int device = 0;
  FakeStream* stream = nullptr;
  int64_t position = 0;  // recorded behind that many entries
};

struct State {
  FakeCudaCounts counts;
  int64_t total_bytes = int64_t{1} << 30;
  int64_t calls_to_failure = 0;
  cudaError_t failure = cudaSuccess;
  cudaError_t sticky = cudaSuccess;
  cudaError_t last = cudaSuccess;  // of one call
  int graphs_left = 1 << 30;
  int devices = 1;
  bool old_driver = false;
  bool leave_mapped = false;
  FakeGraphCall refused_call = FakeGraphCall::kBeginCapture;
  int calls_to_refusal = 0;
  int64_t most_pinned = int64_t{1} << 40;
  std::map<char*, size_t> device;  // mapped size
  std::map<char*, int> owner;      // of device memory
  std::map<char*, size_t> pinned;
  int depth = 0;  // of work being run
  std::function<int(FakeCudaEvent)> fault;
  std::set<std::pair<int, const void*>> code;  // kernels that a device was given
  std::map<int, UniqueFd> contexts;            // of devices in use: a file for /proc to show
};

State& Fake() {
  static State state;
  return state;
}

// As in the real one: 0 on every thread, until the thread says otherwise.
int& CurrentDevice() {
  thread_local int device = 0;
  return device;
}

// Held in every function of the runtime. Work that waits for other ranks gives it up.
std::recursive_mutex& Mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}
using Guard = std::lock_guard<std::recursive_mutex>;

constexpr size_t kPage = 4096;
size_t Pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

cudaError_t FaultAt(FakeCudaEvent event) {
  State& s = Fake();
  return s.fault ? static_cast<cudaError_t>(s.fault(event)) : cudaSuccess;
}

// Counts a call; what it has to answer if not success.
cudaError_t Enter() {
  State& s = Fake();
  ++s.counts.calls;
  if (s.calls_to_failure > 0 && --s.calls_to_failure == 0) s.sticky = s.failure;
  return s.sticky;
}

bool Contains(const std::map<char*, size_t>& ranges, const void* data, size_t bytes) {
  auto* at = static_cast<char*>(const_cast<void*>(data));
  auto it = ranges.upper_bound(at);
  if (it == ranges.begin()) return false;
  --it;
  return at + bytes <= it->first + it->second;
}

// Device memory can be reached while one of these lives.
class OnDevice {
 public:
  OnDevice() {
    if (Fake().depth++ == 0) Protect(PROT_READ | PROT_WRITE);
  }
  ~OnDevice() {
    if (--Fake().depth == 0) Protect(PROT_NONE);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  static void Protect(int how) {
    if (Fake().leave_mapped) return;
    for (const auto& [data, bytes] : Fake().device) {
      INFERD_CHECK(mprotect(data, bytes, how) == 0);
    }
  }
};

class Finally {
 public:
  explicit Finally(std::function<void()> then) : then_(std::move(then)) {}
  ~Finally() { then_(); }
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;

 private:
  const std::function<void()> then_;
};

int64_t ThreadCpuUs() {
  timespec now{};
  INFERD_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

// Runs the stream's work up to its `position`-th entry, or up to one that is not ready.
// Whether it got there.
bool RunTo(FakeStream* stream, int64_t position) {
  if (stream->done >= position) return true;
  const auto begin = std::chrono::steady_clock::now();
  const int64_t cpu_begin_us = ThreadCpuUs();
  const Finally count([begin, cpu_begin_us] {
    const auto took = std::chrono::steady_clock::now() - begin;
    Fake().counts.device_us += std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    Fake().counts.device_cpu_us += ThreadCpuUs() - cpu_begin_us;
  });
  const OnDevice device;
  while (stream->done < position) {
    const cudaError_t error = Fake().sticky == cudaSuccess ? stream->queue.front()() : cudaSuccess;
    if (error == cudaErrorNotReady) return false;
    stream->queue.pop_front();
    ++stream->done;
    if (error != cudaSuccess) Fake().sticky = error;
  }
  return true;
}

// As RunTo, however long it takes. The mutex is held once.
void WaitTo(FakeStream* stream, int64_t position) {
  while (!RunTo(stream, position)) {
    Mutex().unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    Mutex().lock();
  }
}

FakeStream* StreamOf(cudaStream_t stream) { return reinterpret_cast<FakeStream*>(stream); }
FakeEvent* EventOf(cudaEvent_t event) { return reinterpret_cast<FakeEvent*>(event); }

cudaError_t Put(cudaStream_t stream, Work work) {
  FakeStream* s = StreamOf(stream);
  if (s->capture != nullptr) {
    s->capture->work.push_back(std::move(work));
  } else {
    s->queue.push_back(std::move(work));
    ++s->queued;
  }
  return cudaSuccess;
}

// Copies go to any device's stream, all else to those of the thread's device.
cudaError_t CheckStream(cudaStream_t stream) {
  INFERD_CHECK(stream != nullptr);  // the backend uses no default stream
  return StreamOf(stream)->device == CurrentDevice() ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

bool IsRefused(FakeGraphCall call) {
  State& s = Fake();
  if (s.refused_call != call || s.calls_to_refusal == 0 || --s.calls_to_refusal > 0) return false;
  ++s.counts.graphs_refused;
  return true;
}

// Whether device memory is of the stream's device: none of the tests' devices are peers.
bool IsOfStream(const void* data, cudaStream_t stream) {
  const auto& owner = Fake().owner;
  const auto it = owner.upper_bound(static_cast<char*>(const_cast<void*>(data)));
  return it != owner.begin() && std::prev(it)->second == StreamOf(stream)->device;
}

// Launches of kernels come here from the emulator's face of simt.h.
int LaunchOnStream(cuda::Stream stream, const cuda::LaunchShape& shape,
                   void (*invoke)(const void* call), const void* call, size_t bytes) {
  const Guard guard(Mutex());
  if (const cudaError_t error = Enter(); error != cudaSuccess) return error;
  if (const cudaError_t error = CheckStream(stream); error != cudaSuccess) return error;
  const void* kernel = nullptr;
  std::memcpy(&kernel, call, sizeof(kernel));
  if (!Fake().code.contains({CurrentDevice(), kernel})) {
    std::fprintf(stderr, "fake cuda: a kernel whose code nobody asked for (kernels/cuda/code.h)\n");
    return cudaErrorInvalidDeviceFunction;
  }
  ++Fake().counts.launches;
  std::vector<char> copy(static_cast<const char*>(call), static_cast<const char*>(call) + bytes);
  return Put(stream, [=, copy = std::move(copy)] {
    if (const cudaError_t fault = FaultAt(FakeCudaEvent::kKernel); fault != cudaSuccess) {
      return fault;
    }
    ++Fake().counts.kernels;
    StreamOf(stream)->milliseconds += kFakeKernelMs;
    const int code = cuda::emulator::RunGrid(shape, invoke, copy.data());
    if (code != 0) {
      std::fprintf(stderr, "fake cuda: %s\n", cuda::emulator::LastError().c_str());
    }
    return static_cast<cudaError_t>(code);
  });
}

int LoadOnDevice(const void* kernel) {
  const Guard guard(Mutex());
  if (const cudaError_t error = Enter(); error != cudaSuccess) return error;
  Fake().code.insert({CurrentDevice(), kernel});
  return cudaSuccess;
}

}  // namespace

FakeCudaCounts FakeCuda() {
  const Guard guard(Mutex());
  return Fake().counts;
}

void ResetFakeCuda(int64_t total_bytes) {
  INFERD_CHECK(Fake().device.empty() && Fake().pinned.empty());
  Fake() = State();
  Fake().total_bytes = total_bytes;
  cuda::emulator::SetLaunchSink(&LaunchOnStream);
  cuda::emulator::SetLoadSink(&LoadOnDevice);
}

void FailFakeCuda(int64_t calls, int error) {
  const Guard guard(Mutex());
  Fake().calls_to_failure = calls;
  Fake().failure = static_cast<cudaError_t>(error);
  if (calls == 0) Fake().sticky = cudaSuccess;
}

void SetFakeCudaFault(std::function<int(FakeCudaEvent)> fault) {
  const Guard guard(Mutex());
  Fake().fault = std::move(fault);
}

void SetFakeGraphs(int count) {
  const Guard guard(Mutex());
  Fake().graphs_left = count;
}

void SetFakeDevices(int count, bool old_driver) {
  Fake().devices = count;
  Fake().old_driver = old_driver;
}

void RefuseFakeGraphCall(FakeGraphCall call, int nth) {
  const Guard guard(Mutex());
  Fake().refused_call = call;
  Fake().calls_to_refusal = nth;
}

void SetFakePinnedBytes(int64_t most) {
  const Guard guard(Mutex());
  Fake().most_pinned = most;
}

void LeaveFakeMemoryMapped() {
  const Guard guard(Mutex());
  Fake().leave_mapped = true;
}

int PutFakeWork(cudaStream_t stream, double milliseconds, std::function<int()> work) {
  const Guard guard(Mutex());
  if (const cudaError_t error = Enter(); error != cudaSuccess) return error;
  if (const cudaError_t error = CheckStream(stream); error != cudaSuccess) return error;
  return Put(stream, [=, work = std::move(work)]() mutable {
    const auto code = static_cast<cudaError_t>(work());
    if (code != cudaErrorNotReady) StreamOf(stream)->milliseconds += milliseconds;
    return code;
  });
}

void CountFakeProduct() { ++Fake().counts.library_products; }

bool IsFakeDeviceMemory(const void* data, size_t bytes) {
  const Guard guard(Mutex());
  return Contains(Fake().device, data, bytes);
}

}  // namespace inferd::testing

using namespace inferd::testing;  // NOLINT: the C functions below are in no namespace

#define ENTER()               \
  const Guard guard(Mutex()); \
  if (const cudaError_t entered = Enter(); entered != cudaSuccess) return entered

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Fake().devices;
  if (Fake().old_driver) return cudaErrorInsufficientDriver;
  return Fake().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  ENTER();
  if (device >= Fake().devices) return cudaErrorInvalidDevice;
  CurrentDevice() = device;
  inferd::UniqueFd& context = Fake().contexts[device];
  if (context.get() < 0) context = inferd::UniqueFd(memfd_create("emulated-gpu", MFD_CLOEXEC));
  return cudaSuccess;
}
// What is left on the device would be lost: nothing may be.
cudaError_t cudaDeviceReset() {
  ENTER();
  for (const auto& [data, device] : Fake().owner) {
    if (device == CurrentDevice()) return cudaErrorUnknown;
  }
  Fake().contexts.erase(CurrentDevice());
  std::erase_if(Fake().code, [](const auto& entry) { return entry.first == CurrentDevice(); });
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*device*/) {
  ENTER();
  std::memset(static_cast<void*>(properties), 0, sizeof(*properties));
  std::strcpy(properties->name, "emulated");
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 2;
  properties->sharedMemPerBlockOptin = size_t{227} * 1024;
  properties->totalGlobalMem = static_cast<size_t>(Fake().total_bytes);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* bus_id, int length, int device) {
  ENTER();
  if (device >= Fake().devices) return cudaErrorInvalidDevice;
  // Not in the order of their numbers.
  std::snprintf(bus_id, static_cast<size_t>(length), "0000:%02X:00.0", 0x40 - device);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  ENTER();
  *total_bytes = static_cast<size_t>(Fake().total_bytes);
  *free_bytes = static_cast<size_t>(Fake().total_bytes - Fake().counts.device_bytes);
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "a fake error";
}
const char* cudaGetErrorName(cudaError_t /*error*/) { return "cudaErrorFake"; }
cudaError_t cudaGetLastError() {
  const Guard guard(Mutex());
  const cudaError_t last = std::exchange(Fake().last, cudaSuccess);
  return Fake().sticky != cudaSuccess ? Fake().sticky : last;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  ENTER();
  State& s = Fake();
  *data = nullptr;
  if (const cudaError_t fault = FaultAt(FakeCudaEvent::kMemory); fault != cudaSuccess) {
    s.sticky = fault;
    return fault;
  }
  if (s.counts.device_bytes + static_cast<int64_t>(bytes) > s.total_bytes) {
    return cudaErrorMemoryAllocation;
  }
  // A page that is never reachable on either side.
  const size_t size = Pages(bytes);
  const int access = Fake().leave_mapped ? PROT_READ | PROT_WRITE : PROT_NONE;
  void* mapped =
      mmap(nullptr, size + 2 * kPage, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return cudaErrorMemoryAllocation;
  *data = static_cast<char*>(mapped) + kPage;
  s.device[static_cast<char*>(*data)] = size;
  s.owner[static_cast<char*>(*data)] = CurrentDevice();
  s.counts.device_bytes += static_cast<int64_t>(size);
  ++s.counts.device_allocations;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  const Guard guard(Mutex());
  State& s = Fake();
  const auto it = s.device.find(static_cast<char*>(data));
  if (it == s.device.end()) return cudaErrorInvalidValue;
  INFERD_CHECK(munmap(it->first - kPage, it->second + 2 * kPage) == 0);
  s.counts.device_bytes -= static_cast<int64_t>(it->second);
  s.owner.erase(it->first);
  s.device.erase(it);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned /*flags*/) {
  ENTER();
  if (Fake().counts.pinned_bytes + static_cast<int64_t>(bytes) > Fake().most_pinned) {
    return Fake().last = cudaErrorMemoryAllocation;
  }
  *data = std::aligned_alloc(kPage, Pages(bytes));
  if (*data == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xff, Pages(bytes));
  Fake().pinned[static_cast<char*>(*data)] = bytes;
  Fake().counts.pinned_bytes += static_cast<int64_t>(bytes);
  ++Fake().counts.host_allocations;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  const Guard guard(Mutex());
  const auto it = Fake().pinned.find(static_cast<char*>(data));
  if (it == Fake().pinned.end()) return cudaErrorInvalidValue;
  Fake().counts.pinned_bytes -= static_cast<int64_t>(it->second);
  Fake().pinned.erase(it);
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  ENTER();
  auto* made = new FakeStream;
  made->device = CurrentDevice();
  *stream = reinterpret_cast<cudaStream_t>(made);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Guard guard(Mutex());
  FakeStream* s = StreamOf(stream);
  (void)RunTo(s, s->queued);  // what waits for others is lost
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ENTER();
  if (StreamOf(stream)->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  WaitTo(StreamOf(stream), StreamOf(stream)->queued);
  return Fake().sticky;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  ENTER();
  FakeStream* s = StreamOf(stream);
  if (s->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  if (s->done < s->queued) RunTo(s, s->done + 1);
  if (Fake().sticky != cudaSuccess) return Fake().sticky;
  return s->done < s->queued ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  ENTER();
  const State& s = Fake();
  const bool to_device = kind != cudaMemcpyDeviceToHost;
  const bool from_device = kind != cudaMemcpyHostToDevice;
  if (!Contains(to_device ? s.device : s.pinned, to, bytes) ||
      !Contains(from_device ? s.device : s.pinned, from, bytes) ||
      (to_device && !IsOfStream(to, stream)) || (from_device && !IsOfStream(from, stream))) {
    return cudaErrorInvalidValue;
  }
  return Put(stream, [=] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  ENTER();
  if (const cudaError_t error = CheckStream(stream); error != cudaSuccess) return error;
  if (!Contains(Fake().device, data, bytes)) return cudaErrorInvalidValue;
  return Put(stream, [=] {
    std::memset(data, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  ENTER();
  auto* made = new FakeEvent;
  made->device = CurrentDevice();
  made->timed = (flags & cudaEventDisableTiming) == 0;
  *event = reinterpret_cast<cudaEvent_t>(made);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete EventOf(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  ENTER();
  if (StreamOf(stream)->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  if (EventOf(event)->device != StreamOf(stream)->device) return cudaErrorInvalidResourceHandle;
  if (EventOf(event)->timed) {
    (void)Put(stream, [to = EventOf(event)->milliseconds, from = StreamOf(stream)] {
      *to = from->milliseconds;
      return cudaSuccess;
    });
  }
  EventOf(event)->stream = StreamOf(stream);
  EventOf(event)->position = StreamOf(stream)->queued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ENTER();
  const FakeEvent& e = *EventOf(event);
  if (e.stream != nullptr) WaitTo(e.stream, e.position);
  return Fake().sticky;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  ENTER();
  const FakeEvent& e = *EventOf(event);
  if (e.stream == nullptr || e.stream->done >= e.position) return cudaSuccess;
  // Whoever asks long enough gets there.
  RunTo(e.stream, e.stream->done + 1);
  return Fake().sticky != cudaSuccess ? Fake().sticky : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  ENTER();
  for (const cudaEvent_t event : {start, end}) {
    const FakeEvent& e = *EventOf(event);
    if (!e.timed || e.stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (e.stream->done < e.position) return cudaErrorNotReady;
  }
  *milliseconds = static_cast<float>(*EventOf(end)->milliseconds - *EventOf(start)->milliseconds);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  ENTER();
  if (StreamOf(stream)->capture != nullptr) return cudaErrorIllegalState;
  if (IsRefused(FakeGraphCall::kBeginCapture)) return Fake().last = cudaErrorNotSupported;
  StreamOf(stream)->capture = new FakeGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(std::exchange(StreamOf(stream)->capture, nullptr));
  ENTER();
  if (IsRefused(FakeGraphCall::kEndCapture)) {
    delete reinterpret_cast<FakeGraph*>(std::exchange(*graph, nullptr));
    return Fake().last = cudaErrorStreamCaptureInvalidated;
  }
  return *graph != nullptr ? cudaSuccess : cudaErrorIllegalState;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  ENTER();
  // Of this call alone: nothing else is wrong with the device.
  if (IsRefused(FakeGraphCall::kInstantiate)) return Fake().last = cudaErrorMemoryAllocation;
  if (Fake().graphs_left-- <= 0) {
    ++Fake().counts.graphs_refused;
    return Fake().last = cudaErrorMemoryAllocation;
  }
  *exec = reinterpret_cast<cudaGraphExec_t>(new FakeGraph(*reinterpret_cast<FakeGraph*>(graph)));
  ++Fake().counts.graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream) {
  ENTER();
  if (IsRefused(FakeGraphCall::kUpload)) return Fake().last = cudaErrorMemoryAllocation;
  return graph != nullptr ? CheckStream(stream) : cudaErrorInvalidValue;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<FakeGraph*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Guard guard(Mutex());
  delete reinterpret_cast<FakeGraph*>(exec);
  --Fake().counts.graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ENTER();
  if (const cudaError_t error = CheckStream(stream); error != cudaSuccess) return error;
  ++Fake().counts.graph_launches;
  if (const cudaError_t fault = FaultAt(FakeCudaEvent::kGraph); fault != cudaSuccess) {
    return Put(stream, [fault] { return fault; });
  }
  FakeStream* s = StreamOf(stream);
  if (s->done < s->graph_end) ++Fake().counts.graphs_overlapped;
  for (const Work& work : reinterpret_cast<FakeGraph*>(exec)->work) {
    (void)Put(stream, work);
  }
  s->graph_end = s->queued;
  return cudaSuccess;
}

}  // extern "C"
