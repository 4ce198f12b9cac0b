#include <array>
#include <string>

#include "server/metric_families.h"

namespace inferd {
namespace {

MetricLabels LabelsOf(const ServedDevice& device) {
  return {{"rank", std::to_string(device.rank)}, {"gpu", std::to_string(device.index)}};
}

// A family of what devices say of themselves; none when none says it.
template <typename T>
void AddReadings(const char* name, const char* help, std::optional<T> DeviceReading::*member,
                 const std::vector<ServedDevice>& devices,
                 const std::vector<DeviceReading>& readings, FamilyBuilder* out) {
  bool started = false;
  for (size_t i = 0; i < devices.size() && i < readings.size(); ++i) {
    const std::optional<T>& value = readings[i].*member;
    if (!value) continue;
    if (!started) out->Gauge(name, help);
    started = true;
    out->Add(LabelsOf(devices[i]), static_cast<double>(*value));
  }
}

}  // namespace

void AddDeviceFamilies(const std::vector<ServedDevice>& devices,
                       const std::vector<DeviceReading>& readings, FamilyBuilder* out) {
  if (devices.empty()) return;
  out->Gauge("inferd_gpu_info", "Always 1; the labels describe the GPU of a rank.");
  for (const ServedDevice& device : devices) {
    MetricLabels labels = LabelsOf(device);
    labels.emplace_back("name", device.name);
    labels.emplace_back("pci_bus_id", device.bus_id);
    out->Add(labels, 1);
  }
  out->Gauge("inferd_gpu_memory_bytes",
             "The GPU's memory by what it is for, when the rank had loaded: weights, kv_cache, "
             "activations and other (tables, padding, libraries) as --dry-run prints them; "
             "unplanned (the driver, code, communicators, other processes); and free.");
  for (const ServedDevice& device : devices) {
    for (const auto& [kind, bytes] : device.memory) {
      MetricLabels labels = LabelsOf(device);
      labels.emplace_back("kind", kind);
      out->Add(labels, static_cast<double>(bytes));
    }
  }
  AddReadings("inferd_gpu_utilization_ratio",
              "Part of the driver's last sample period in which a kernel ran, 0 to 1.",
              &DeviceReading::utilization, devices, readings, out);
  AddReadings("inferd_gpu_memory_used_bytes", "The GPU's memory that is taken, by any process.",
              &DeviceReading::memory_used_bytes, devices, readings, out);
  AddReadings("inferd_gpu_memory_total_bytes", "The GPU's memory.",
              &DeviceReading::memory_total_bytes, devices, readings, out);
  AddReadings("inferd_gpu_temperature_celsius", "The GPU's temperature.",
              &DeviceReading::temperature_celsius, devices, readings, out);
  AddReadings("inferd_gpu_power_watts", "What the GPU draws.", &DeviceReading::power_watts, devices,
              readings, out);
}

void AddDeviceStepFamilies(const EngineStats& stats, const MetricLabels& labels,
                           FamilyBuilder* out) {
  const auto with_kind = [&labels](const char* kind) {
    MetricLabels with = labels;
    with.emplace_back("kind", kind);
    return with;
  };
  out->Histogram("inferd_engine_step_kernel_seconds",
                 "Time of a step on the GPU of the rank that answers, from its first work to its "
                 "last.");
  out->Add(with_kind("prefill"), stats.device_seconds_prefill);
  out->Add(with_kind("decode"), stats.device_seconds_decode);
  out->Add(with_kind("mixed"), stats.device_seconds_mixed);
}

}  // namespace inferd
