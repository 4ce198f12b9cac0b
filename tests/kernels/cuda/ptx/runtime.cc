// What nvcc's objects want of a CUDA runtime to register and launch kernels, with the
// interpreter in the place of a GPU; and the functions of the emulator that tests call, so
// that their sources are the same for both.
//
// Compiled into each program. PTX_LIST is a file that names the PTX files of its kernels; the
// variable INFERD_PTX_LIST names another.
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "cuda/launch.h"
#include "kernels/cuda/ptx/library.h"
#include "kernels/cuda/ptx/machine.h"
#include "kernels/cuda/ptx/runtime.h"

namespace inferd::cuda {
namespace {

// Without asking for it a block gets no more.
constexpr size_t kPlainSharedBytes = size_t{48} * 1024;

struct Registered {
  std::string name;
  size_t max_dynamic_bytes = kPlainSharedBytes;
  bool loaded = false;  // its code has been asked for
};

struct Registry {
  std::mutex mutex;
  std::map<const void*, Registered> functions;  // by the function that stands for each on the host
};

// Filled before main() begins.
Registry& Kernels() {
  static Registry registry;
  return registry;
}

ptx::Library& Library() {
  const char* other = std::getenv("INFERD_PTX_LIST");
  static ptx::Library library(other != nullptr ? other : PTX_LIST);
  return library;
}

struct ThreadState {
  ptx::Machine machine;
  uint64_t seed = 0;
  std::string error;
};
ThreadState& OfThread() {
  static thread_local ThreadState state;
  return state;
}

std::atomic<emulator::LaunchSink>& Sink() {
  static std::atomic<emulator::LaunchSink> sink = nullptr;
  return sink;
}

std::atomic<emulator::LoadSink>& SinkOfLoads() {
  static std::atomic<emulator::LoadSink> sink = nullptr;
  return sink;
}

Dim3 Of(dim3 d) { return {d.x, d.y, d.z}; }

int Failed(int code, std::string what) {
  OfThread().error = std::move(what);
  // Also where nobody asks.
  std::fprintf(stderr, "ptx: %s\n", OfThread().error.c_str());
  return code;
}

}  // namespace

namespace emulator {

void SetSeed(uint64_t seed) { OfThread().seed = seed; }
const std::string& LastError() { return OfThread().error; }
void SetLaunchSink(LaunchSink sink) { Sink() = sink; }

// `call`: the address of the decoded kernel, then its parameters.
int RunGrid(const LaunchShape& shape, void (* /*invoke*/)(const void* call), const void* call) {
  const ptx::Program* program = nullptr;
  std::memcpy(&program, call, sizeof(program));
  ThreadState& self = OfThread();
  const std::string* error = self.machine.Run(
      *program, shape, static_cast<const unsigned char*>(call) + sizeof(program), self.seed);
  if (error != nullptr) return Failed(kKernelError, *error);
  self.error.clear();
  return 0;
}

int RunOrQueueGrid(Stream stream, const LaunchShape& shape, void (*invoke)(const void* call),
                   const void* call, size_t bytes) {
  const LaunchSink sink = Sink();
  if (stream == nullptr || sink == nullptr) return RunGrid(shape, invoke, call);
  return sink(stream, shape, invoke, call, bytes);
}

void SetLoadSink(LoadSink sink) { SinkOfLoads() = sink; }

int LoadKernel(const void* kernel) {
  const LoadSink sink = SinkOfLoads();
  return sink == nullptr ? 0 : sink(kernel);
}

}  // namespace emulator

std::vector<std::string> KernelsNotLoaded() {
  Registry& registry = Kernels();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  std::vector<std::string> names;
  for (const auto& [host, kernel] : registry.functions) {
    if (!kernel.loaded) names.push_back(kernel.name);
  }
  return names;
}

}  // namespace inferd::cuda

using namespace inferd::cuda;  // NOLINT: the C functions below are in no namespace

extern "C" {

// Called by constructors that nvcc puts into each of its objects.
void** __cudaRegisterFatBinary(void* binary) {  // NOLINT
  static void* handle;
  handle = binary;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void** /*handle*/) {}  // NOLINT
void __cudaUnregisterFatBinary(void** /*handle*/) {}   // NOLINT
void __cudaRegisterFunction(void** /*handle*/, const char* host,
                            char* /*device_function*/,  // NOLINT
                            const char* device_name, int /*threads*/, void* /*thread*/,
                            void* /*block*/, void* /*block_dim*/, void* /*grid_dim*/,
                            int* /*warp_size*/) {
  Registry& registry = Kernels();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.functions[host].name = device_name;
}
// Of launches in three angle brackets, of which there are none.
unsigned __cudaPopCallConfiguration(dim3* /*grid*/, dim3* /*block*/, size_t* /*bytes*/,  // NOLINT
                                    void* /*stream*/) {
  std::abort();
}
cudaError_t __cudaGetKernel(cudaKernel_t* /*kernel*/, const void* /*host*/) {  // NOLINT
  std::abort();
}
cudaError_t __cudaLaunchKernel(cudaKernel_t /*kernel*/, dim3 /*grid*/, dim3 /*block*/,  // NOLINT
                               void** /*arguments*/, size_t /*bytes*/, cudaStream_t /*stream*/) {
  std::abort();
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  Registry& registry = Kernels();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found = registry.functions.find(function);
  if (found == registry.functions.end()) return cudaErrorInvalidDeviceFunction;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0) {
    return cudaErrorInvalidValue;
  }
  found->second.max_dynamic_bytes = static_cast<size_t>(value);
  return cudaSuccess;
}

// Decodes the kernel as well: what it is launched with begins with that.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  std::string name;
  {
    Registry& registry = Kernels();
    const std::lock_guard<std::mutex> lock(registry.mutex);
    const auto found = registry.functions.find(function);
    if (found == registry.functions.end()) return cudaErrorInvalidDeviceFunction;
    found->second.loaded = true;
    name = found->second.name;
  }
  std::string error;
  const ptx::Program* program = Library().Find(name, &error);
  if (program == nullptr) return static_cast<cudaError_t>(Failed(cudaErrorInvalidPtx, error));
  *attributes = {};
  return static_cast<cudaError_t>(emulator::LoadKernel(program));
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** arguments) {
  Registered kernel;
  {
    Registry& registry = Kernels();
    const std::lock_guard<std::mutex> lock(registry.mutex);
    const auto found = registry.functions.find(function);
    if (found == registry.functions.end()) {
      return static_cast<cudaError_t>(
          Failed(cudaErrorInvalidDeviceFunction, "a function that is not registered"));
    }
    kernel = found->second;
  }
  LaunchShape shape{Of(config->gridDim), Of(config->blockDim), config->dynamicSmemBytes};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    shape.early = config->attrs[i].val.programmaticStreamSerializationAllowed != 0;
    if (config->attrs[i].id != cudaLaunchAttributeProgrammaticStreamSerialization) {
      return static_cast<cudaError_t>(Failed(cudaErrorInvalidValue, "an unknown attribute"));
    }
  }
  if (config->dynamicSmemBytes > kernel.max_dynamic_bytes) {
    return static_cast<cudaError_t>(
        Failed(cudaErrorInvalidValue, "more dynamic shared memory than was asked for"));
  }
  std::string error;
  const ptx::Program* program = Library().Find(kernel.name, &error);
  if (program == nullptr) {
    return static_cast<cudaError_t>(Failed(cudaErrorInvalidPtx, error));
  }
  std::vector<unsigned char> call(sizeof(program) + program->param_bytes);
  std::memcpy(call.data(), &program, sizeof(program));
  std::memcpy(call.data() + sizeof(program), arguments[0], program->param_bytes);
  return static_cast<cudaError_t>(
      emulator::RunOrQueueGrid(config->stream, shape, nullptr, call.data(), call.size()));
}

}  // extern "C"
