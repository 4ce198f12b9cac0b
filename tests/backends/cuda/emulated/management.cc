// libnvidia-ml.so.1 of the tests' own. Three GPUs in the order of the bus, which is not that
// of the emulated runtime: 3E, 3F, 40. EMULATED_NVML: words of what goes wrong,
//   init     it does not start
//   gone     GPU 3F is not found
//   power    nothing has a power meter
//   all      no reading works
// inferd_emulated_nvml_calls() counts readings. With WITHOUT_POWER a function is missing.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "backends/cuda/nvml_types.h"

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;

struct Gpu {
  const char* bus_id;
  unsigned number;
};
constexpr Gpu kGpus[] = {{"0000:3E:00.0", 0}, {"0000:3F:00.0", 1}, {"0000:40:00.0", 2}};
std::atomic<int> calls{0};

bool Says(std::string_view word) {
  const char* words = std::getenv("EMULATED_NVML");
  return words != nullptr && std::string_view(words).find(word) != std::string_view::npos;
}

unsigned NumberOf(void* device) { return static_cast<const Gpu*>(device)->number; }

}  // namespace

extern "C" {

int inferd_emulated_nvml_calls() { return calls.load(); }

int nvmlInit_v2() { return Says("init") ? kNotFound : kSuccess; }
int nvmlShutdown() { return kSuccess; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  for (const Gpu& gpu : kGpus) {
    if (std::strcmp(gpu.bus_id, bus_id) != 0) continue;
    if (gpu.number == 1 && Says("gone")) return kNotFound;
    *device = const_cast<Gpu*>(&gpu);
    return kSuccess;
  }
  return kNotFound;
}
int nvmlDeviceGetUtilizationRates(void* device, inferd::NvmlUtilization* rates) {
  ++calls;
  if (Says("all")) return kNotSupported;
  *rates = {10 + NumberOf(device), 5};
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void* device, inferd::NvmlMemory* memory) {
  if (Says("all")) return kNotSupported;
  *memory = {1000, 900 - NumberOf(device), 100 + NumberOf(device)};
  return kSuccess;
}
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius) {
  if (Says("all") || sensor != 0) return kNotSupported;
  *celsius = 40 + NumberOf(device);
  return kSuccess;
}
#ifndef WITHOUT_POWER
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  if (Says("all") || Says("power")) return kNotSupported;
  *milliwatts = 200'500 + 1000 * NumberOf(device);
  return kSuccess;
}
#endif

}  // extern "C"
