#include "runtime/sum_links.h"

#include <array>
#include <utility>

namespace inferd::runtime {
namespace {

// In an order in which they can be connected, stage after stage.
constexpr std::array<Communicator * RankLinks::*, 5> kAll = {
    &RankLinks::tp, &RankLinks::row, &RankLinks::column, &RankLinks::previous, &RankLinks::next};

}  // namespace

StatusOr<SumLinks> SumLinks::Create(const RankLinks& links, AllReduceMode mode, int64_t max_bytes,
                                    const DeviceGroupOptions& devices, Ops& ops, const Clock& clock,
                                    std::shared_ptr<spdlog::logger> logger) {
  SumLinks sums(links, std::move(logger));
  for (const auto member : kAll) {
    if (links.*member == nullptr) continue;
    INFERD_ASSIGN_OR_RETURN(std::unique_ptr<DeviceGroup> group,
                            ops.MakeGroup(*(links.*member), devices, clock));
    if (group == nullptr) break;  // the host's memory is all there is
    sums.links_.*member = group.get();
    sums.groups_.push_back(std::move(group));
  }
  // The groups' own sums are exact: nothing to choose from.
  if (mode == AllReduceMode::kAuto || mode == AllReduceMode::kExact) return sums;
  if (sums.on_devices()) {
    return FailedPreconditionError("parallel.all_reduce: devices sum exactly; auto or exact");
  }
  AllReduceChooserOptions options;
  options.mode = mode;
  options.max_bytes = max_bytes;
  for (Communicator** const link : {&sums.links_.tp, &sums.links_.row, &sums.links_.column}) {
    if (*link == nullptr) continue;
    const bool whole_stage = link == &sums.links_.tp;
    options.local = whole_stage ? links.local : nullptr;
    options.leaders = whole_stage ? links.leaders : nullptr;
    INFERD_ASSIGN_OR_RETURN(auto chosen, MakeChosenAllReduce(**link, options, clock));
    *link = chosen.get();
    sums.chosen_.push_back(std::move(chosen));
  }
  return sums;
}

Allocator* SumLinks::memory() const {
  for (const std::unique_ptr<DeviceGroup>& group : groups_) {
    if (group.get() == links_.tp) return &group->memory();
  }
  return nullptr;
}

Status SumLinks::Choose() {
  for (const std::unique_ptr<DeviceGroup>& group : groups_) {
    INFERD_RETURN_IF_ERROR(group->Connect());
    if (logger_ != nullptr && group->rank() == 0) {
      logger_->info("a group of {} devices: {}", group->world_size(), group->Description());
    }
  }
  for (const std::unique_ptr<ChosenAllReduce>& chosen : chosen_) {
    INFERD_RETURN_IF_ERROR(chosen->Choose());
    if (logger_ != nullptr && chosen->rank() == 0) {
      logger_->info("sums over {} ranks: {}", chosen->world_size(), chosen->Summary());
    }
  }
  return OkStatus();
}

void SumLinks::Abort() {
  for (const std::unique_ptr<DeviceGroup>& group : groups_) group->Abort();
}

}  // namespace inferd::runtime
