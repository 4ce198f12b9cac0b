// What is used of NVIDIA's management library, declared here: it is opened at run time, and a
// build needs no header of it. tests/backends/cuda/nvml_header_test.cc compares this with
// nvml.h, where there is one.
#pragma once

namespace inferd {

inline constexpr int kNvmlSuccess = 0;
inline constexpr int kNvmlTemperatureOfChip = 0;

using NvmlDevice = void*;

struct NvmlUtilization {
  unsigned gpu = 0;  // percent
  unsigned memory = 0;
};

struct NvmlMemory {
  unsigned long long total = 0;  // NOLINT: the library's type
  unsigned long long free = 0;   // NOLINT
  unsigned long long used = 0;   // NOLINT
};

struct NvmlFunctions {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*by_bus_id)(const char* bus_id, NvmlDevice* device) = nullptr;
  // Null where the library has none.
  int (*utilization)(NvmlDevice device, NvmlUtilization* rates) = nullptr;
  int (*memory)(NvmlDevice device, NvmlMemory* memory) = nullptr;
  int (*temperature)(NvmlDevice device, int sensor, unsigned* celsius) = nullptr;
  int (*power)(NvmlDevice device, unsigned* milliwatts) = nullptr;
};

}  // namespace inferd
