// How the devices of this machine are doing, as their driver says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/device_reading.h"
#include "inferd/base/status.h"

namespace inferd {

class DeviceMonitor {
 public:
  virtual ~DeviceMonitor() = default;
  // One reading for each device, in order. The driver is asked at most once a second, by one
  // thread at a time; who comes in between gets what is known. Any thread.
  virtual std::vector<DeviceReading> Read() = 0;
};

// Of the devices at these places on the bus (DeviceInfo::bus_id); an empty one is of a
// device elsewhere, of which nothing is read. UNAVAILABLE, in one line, where the driver has
// no library to ask. `clock` outlives the monitor.
StatusOr<std::unique_ptr<DeviceMonitor>> OpenDeviceMonitor(std::vector<std::string> bus_ids,
                                                           const Clock& clock);

}  // namespace inferd
