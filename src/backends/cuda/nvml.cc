// NVIDIA's management library, opened at run time. It keeps the names of old versions of those
// functions that changed.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <utility>

#include "backends/cuda/nvml_types.h"
#include "inferd/backends/device_monitor.h"

namespace inferd {
namespace {

constexpr char kLibrary[] = "libnvidia-ml.so.1";
constexpr int64_t kIntervalUs = 1'000'000;

class NvmlMonitor final : public DeviceMonitor {
 public:
  NvmlMonitor(NvmlFunctions functions, std::vector<std::string> bus_ids, const Clock& clock)
      : functions_(functions),
        bus_ids_(std::move(bus_ids)),
        clock_(clock),
        handles_(bus_ids_.size()),
        latest_(bus_ids_.size()) {}
  ~NvmlMonitor() override {
    if (functions_.shutdown != nullptr) (void)functions_.shutdown();
  }

  std::vector<DeviceReading> Read() override {
    const std::unique_lock asking(asking_, std::try_to_lock);
    if (asking.owns_lock()) {
      const int64_t now_us = clock_.NowUs();
      if (!asked_ || now_us - asked_us_ >= kIntervalUs) {
        asked_ = true;
        asked_us_ = now_us;
        std::vector<DeviceReading> readings = Ask();
        const std::lock_guard lock(mutex_);
        latest_ = std::move(readings);
      }
    }
    const std::lock_guard lock(mutex_);
    return latest_;
  }

 private:
  std::vector<DeviceReading> Ask() {
    std::vector<DeviceReading> readings(bus_ids_.size());
    for (size_t i = 0; i < bus_ids_.size(); ++i) {
      if (bus_ids_[i].empty()) continue;
      if (handles_[i] == nullptr &&
          functions_.by_bus_id(bus_ids_[i].c_str(), &handles_[i]) != kNvmlSuccess) {
        handles_[i] = nullptr;
        continue;
      }
      readings[i] = AskOne(handles_[i]);
      // One that was reset has another handle.
      if (readings[i] == DeviceReading()) handles_[i] = nullptr;
    }
    return readings;
  }

  DeviceReading AskOne(NvmlDevice device) const {
    DeviceReading reading;
    NvmlUtilization rates;
    if (functions_.utilization != nullptr &&
        functions_.utilization(device, &rates) == kNvmlSuccess) {
      reading.utilization = std::min(rates.gpu, 100U) / 100.0;
    }
    NvmlMemory memory;
    if (functions_.memory != nullptr && functions_.memory(device, &memory) == kNvmlSuccess) {
      reading.memory_used_bytes = static_cast<int64_t>(memory.used);
      reading.memory_total_bytes = static_cast<int64_t>(memory.total);
    }
    unsigned value = 0;
    if (functions_.temperature != nullptr &&
        functions_.temperature(device, kNvmlTemperatureOfChip, &value) == kNvmlSuccess) {
      reading.temperature_celsius = value;
    }
    if (functions_.power != nullptr && functions_.power(device, &value) == kNvmlSuccess) {
      reading.power_watts = value / 1000.0;
    }
    return reading;
  }

  const NvmlFunctions functions_;
  const std::vector<std::string> bus_ids_;
  const Clock& clock_;
  std::mutex asking_;
  bool asked_ = false;  // guarded by asking_, as the next two
  int64_t asked_us_ = 0;
  std::vector<NvmlDevice> handles_;  // null: to be looked for
  std::mutex mutex_;
  std::vector<DeviceReading> latest_;  // guarded by mutex_
};

template <typename Function>
void Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

StatusOr<std::unique_ptr<DeviceMonitor>> OpenDeviceMonitor(std::vector<std::string> bus_ids,
                                                           const Clock& clock) {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return UnavailableError(std::string("GPU metrics: ") + kLibrary + " cannot be opened");
  }
  NvmlFunctions functions;
  Find(library, "nvmlInit_v2", &functions.init);
  Find(library, "nvmlShutdown", &functions.shutdown);
  Find(library, "nvmlDeviceGetHandleByPciBusId_v2", &functions.by_bus_id);
  Find(library, "nvmlDeviceGetUtilizationRates", &functions.utilization);
  Find(library, "nvmlDeviceGetMemoryInfo", &functions.memory);
  Find(library, "nvmlDeviceGetTemperature", &functions.temperature);
  Find(library, "nvmlDeviceGetPowerUsage", &functions.power);
  if (functions.init == nullptr || functions.by_bus_id == nullptr) {
    return UnavailableError(std::string("GPU metrics: ") + kLibrary + " is not what it should be");
  }
  if (const int code = functions.init(); code != kNvmlSuccess) {
    return UnavailableError(std::string("GPU metrics: ") + kLibrary + " does not start (error " +
                            std::to_string(code) + ")");
  }
  return std::unique_ptr<DeviceMonitor>(
      std::make_unique<NvmlMonitor>(functions, std::move(bus_ids), clock));
}

}  // namespace inferd
