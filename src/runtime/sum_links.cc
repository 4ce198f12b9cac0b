#include "runtime/sum_links.h"

#include <utility>

namespace inferd::runtime {

StatusOr<SumLinks> SumLinks::Create(const RankLinks& links, AllReduceMode mode, int64_t max_bytes,
                                    const Clock& clock, std::shared_ptr<spdlog::logger> logger) {
  SumLinks sums(links, std::move(logger));
  // The groups' own sums are exact: nothing to choose from.
  if (mode == AllReduceMode::kAuto || mode == AllReduceMode::kExact) return sums;
  AllReduceChooserOptions options;
  options.mode = mode;
  options.max_bytes = max_bytes;
  for (Communicator** const link : {&sums.links_.tp, &sums.links_.row, &sums.links_.column}) {
    if (*link == nullptr) continue;
    INFERD_ASSIGN_OR_RETURN(auto chosen, MakeChosenAllReduce(**link, options, clock));
    *link = chosen.get();
    sums.chosen_.push_back(std::move(chosen));
  }
  return sums;
}

Status SumLinks::Choose() {
  for (const std::unique_ptr<ChosenAllReduce>& chosen : chosen_) {
    INFERD_RETURN_IF_ERROR(chosen->Choose());
    if (logger_ != nullptr && chosen->rank() == 0) {
      logger_->info("sums over {} ranks: {}", chosen->world_size(), chosen->Summary());
    }
  }
  return OkStatus();
}

}  // namespace inferd::runtime
