// Metric families made at scrape time from numbers that others keep: the engine's
// and the process's. Any thread.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inferd/engine/engine.h"
#include "inferd/net/listener.h"
#include "inferd/server/server.h"

namespace inferd {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Collects families under the names and HELP texts of docs/api.md.
class FamilyBuilder {
 public:
  // Starts a family; the series added next belong to it.
  void Gauge(std::string name, std::string help);
  void Counter(std::string name, std::string help);
  void Histogram(std::string name, std::string help);
  void Add(const MetricLabels& labels, double value);
  void Add(const MetricLabels& labels, const inferd::Histogram& histogram);

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  void Start(std::string name, std::string help, prometheus::MetricType type);
  std::vector<prometheus::MetricFamily> families_;
};

// Scheduler, cache and token rows of one engine.
void AddEngineFamilies(const EngineStats& stats, const MetricLabels& labels, FamilyBuilder* out);
// Devices of the ranks, and what steps took on them. Nothing without any.
void AddDeviceFamilies(const std::vector<ServedDevice>& devices,
                       const std::vector<DeviceReading>& readings, FamilyBuilder* out);
void AddDeviceStepFamilies(const EngineStats& stats, const MetricLabels& labels,
                           FamilyBuilder* out);
// Connections of the main port.
void AddListenerFamilies(const ListenerStats& stats, FamilyBuilder* out);
// The standard process_* rows, from /proc/self.
void AddProcessFamilies(int64_t start_unix_us, FamilyBuilder* out);

}  // namespace inferd
