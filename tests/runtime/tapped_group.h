// A group of ranks in threads of the test, with a tap on the logits of each.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "inferd/backends/backend.h"
#include "inferd/runtime/rank.h"
#include "plan_driver.h"
#include "tap_ops.h"

namespace inferd::testing {

class TappedGroup {
 public:
  LocalExecutor& executor() { return *executor_; }
  PlanDriver& driver() { return *driver_; }
  // Of a rank of the last stage; 0 is the one that answers.
  const std::map<TapOps::Key, std::vector<float>>& logits(int tp_rank = 0) const {
    return taps_[static_cast<size_t>((shape_.pp - 1) * shape_.tp() + tp_rank)]->logits();
  }

  RankOptions options;

 protected:
  TappedGroup(const ParallelShape& shape, RankOptions of_ranks)
      : options(std::move(of_ranks)), shape_(shape) {
    options.max_in_flight = shape.pp + 1;
  }

  // The backend of the next rank.
  void Add(std::unique_ptr<Backend> backend) {
    backends_.push_back(std::move(backend));
    taps_.push_back(std::make_unique<TapOps>(backends_.back()->ops()));
  }

  // With so many backends as ranks. Without `tap` there are no logits to look at.
  Status StartRanks(bool tap) {
    std::vector<Ops*> ops;
    for (size_t r = 0; r < taps_.size(); ++r) {
      ops.push_back(tap ? taps_[r].get() : &backends_[r]->ops());
    }
    INFERD_ASSIGN_OR_RETURN(executor_, StartThreadExecutor(options, shape_, ops, clock_, nullptr));
    driver_ = std::make_unique<PlanDriver>(*executor_, options.memory.max_running,
                                           options.memory.block_size,
                                           executor_->info().memory.num_blocks);
    driver_->SetStages(shape_.pp);
    return OkStatus();
  }

  const ParallelShape shape_;

 private:
  const SystemClock clock_{};
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<TapOps>> taps_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<PlanDriver> driver_;
};

}  // namespace inferd::testing
