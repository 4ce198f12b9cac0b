// What a device says of itself while it works.
#pragma once

#include <cstdint>
#include <optional>

namespace inferd {

// What it does not say is absent.
struct DeviceReading {
  std::optional<double> utilization;  // 0 to 1
  std::optional<int64_t> memory_used_bytes;
  std::optional<int64_t> memory_total_bytes;
  std::optional<double> temperature_celsius;
  std::optional<double> power_watts;

  bool operator==(const DeviceReading&) const = default;
};

}  // namespace inferd
