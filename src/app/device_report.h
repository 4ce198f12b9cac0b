// What operators are told of the devices of ranks.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/device_reading.h"
#include "inferd/runtime/rank.h"
#include "inferd/server/server.h"
#include "spdlog/logger.h"

namespace inferd::app {

// For a dry run: what the memory of each rank is for, in bytes, a line each, as the metric
// inferd_gpu_memory_bytes has it.
std::string DescribeUse(std::span<const RankInfo> ranks);

// The devices of the ranks that have one, by replica and rank.
std::vector<ServedDevice> DevicesOf(std::span<const std::unique_ptr<LocalExecutor>> executors);

// Reads those on this host, whose ranks are the first `ranks_here`. Null without devices, and
// where the driver cannot be asked, which the log is told. `clock` outlives it.
std::function<std::vector<DeviceReading>()> WatchDevices(const std::vector<ServedDevice>& devices,
                                                         int ranks_here, const Clock& clock,
                                                         spdlog::logger& logger);

}  // namespace inferd::app
