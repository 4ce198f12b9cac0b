#include "app/device_report.h"

#include <algorithm>
#include <utility>

#include "inferd/backends/device_monitor.h"

namespace inferd::app {
namespace {

std::vector<std::pair<std::string, int64_t>> ByKind(const MemoryUse& use) {
  return {{"weights", use.weights},
          {"kv_cache", use.kv_cache},
          {"activations", use.activations},
          {"other", use.other}};
}

}  // namespace

std::string DescribeUse(std::span<const RankInfo> ranks) {
  std::string text;
  for (const RankInfo& rank : ranks) {
    text += "gpu memory  rank " + std::to_string(rank.place.world_rank());
    for (const auto& [kind, bytes] : ByKind(rank.use)) {
      text += ", " + kind + " " + std::to_string(bytes);
    }
    text += " bytes\n";
  }
  return text;
}

std::vector<ServedDevice> DevicesOf(std::span<const std::unique_ptr<LocalExecutor>> executors) {
  std::vector<ServedDevice> devices;
  int32_t first_rank = 0;
  for (const auto& executor : executors) {
    for (const RankInfo& rank : executor->ranks()) {
      const DeviceInfo& info = rank.device;
      if (info.index < 0) continue;
      ServedDevice& device = devices.emplace_back();
      device.rank = first_rank + rank.place.world_rank();
      device.index = info.index;
      device.name = info.name;
      device.bus_id = info.bus_id;
      device.memory = ByKind(rank.use);
      const int64_t taken = info.total_bytes - info.free_bytes;
      device.memory.emplace_back("unplanned", std::max<int64_t>(0, taken - rank.use.total()));
      device.memory.emplace_back("free", info.free_bytes);
    }
    first_rank += static_cast<int32_t>(executor->ranks().size());
  }
  return devices;
}

std::function<std::vector<DeviceReading>()> WatchDevices(const std::vector<ServedDevice>& devices,
                                                         int ranks_here, const Clock& clock,
                                                         spdlog::logger& logger) {
  if (devices.empty()) return nullptr;
  std::vector<std::string> bus_ids;
  bus_ids.reserve(devices.size());
  for (const ServedDevice& device : devices) {
    bus_ids.push_back(device.rank < ranks_here ? device.bus_id : "");
  }
  StatusOr<std::unique_ptr<DeviceMonitor>> monitor = OpenDeviceMonitor(std::move(bus_ids), clock);
  if (!monitor.ok()) {
    logger.info("{}", monitor.status().message());
    return nullptr;
  }
  return
      [monitor = std::shared_ptr<DeviceMonitor>(std::move(*monitor))] { return monitor->Read(); };
}

}  // namespace inferd::app
