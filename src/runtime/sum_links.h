#pragma once

#include <memory>
#include <vector>

#include "inferd/comm/all_reduce_chooser.h"
#include "inferd/comm/device_group.h"
#include "inferd/model/parallel.h"
#include "inferd/ops/ops.h"
#include "spdlog/logger.h"

namespace inferd::runtime {

// What a rank's model says to other ranks with. Where the rank has a device: groups of
// devices, beside the links, which go on for what is in the host's memory. Else the links
// themselves, of which those within a stage sum as the operator allows and as is quickest.
// One thread.
class SumLinks {
 public:
  // `max_bytes`: of the longest sum. What `links` points to, `ops` and `clock` outlive the
  // result. FAILED_PRECONDITION for a mode that the device does not know.
  static StatusOr<SumLinks> Create(const RankLinks& links, AllReduceMode mode, int64_t max_bytes,
                                   const DeviceGroupOptions& devices, Ops& ops, const Clock& clock,
                                   std::shared_ptr<spdlog::logger> logger);

  const RankLinks& links() const { return links_; }
  bool on_devices() const { return !groups_.empty(); }
  // Where what the ranks of a stage exchange had better be; null: anywhere.
  Allocator* memory() const;
  // By all ranks together, before the first step: connects the devices, or measures and
  // chooses; says once what came of it.
  Status Choose();
  // The model's calls fail from now on.
  void Abort();

 private:
  explicit SumLinks(const RankLinks& links, std::shared_ptr<spdlog::logger> logger)
      : links_(links), logger_(std::move(logger)) {}

  RankLinks links_;
  std::shared_ptr<spdlog::logger> logger_;  // may be null
  std::vector<std::unique_ptr<DeviceGroup>> groups_;
  std::vector<std::unique_ptr<ChosenAllReduce>> chosen_;
};

}  // namespace inferd::runtime
