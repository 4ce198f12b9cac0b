// Which device an op set computes on, where that has memory of its own.
#pragma once

#include <cstdint>
#include <string>

namespace inferd {

struct DeviceInfo {
  int32_t index = -1;  // among those that the process may use; -1: the host's processors
  std::string name;
  // Of PCI, "0000:3b:00.0", spelled as the driver does; may be empty.
  std::string bus_id;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;  // that nobody has, of any process
};

}  // namespace inferd
