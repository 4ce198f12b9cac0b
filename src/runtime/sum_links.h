#pragma once

#include <memory>
#include <vector>

#include "inferd/comm/all_reduce_chooser.h"
#include "inferd/model/parallel.h"
#include "spdlog/logger.h"

namespace inferd::runtime {

// A rank's links, of which those within a stage sum as the operator allows and as is
// quickest. One thread.
class SumLinks {
 public:
  // `max_bytes`: of the longest sum. What `links` points to and `clock` outlive the result.
  static StatusOr<SumLinks> Create(const RankLinks& links, AllReduceMode mode, int64_t max_bytes,
                                   const Clock& clock, std::shared_ptr<spdlog::logger> logger);

  const RankLinks& links() const { return links_; }
  // By all ranks of a stage together; says once what was chosen.
  Status Choose();

 private:
  explicit SumLinks(const RankLinks& links, std::shared_ptr<spdlog::logger> logger)
      : links_(links), logger_(std::move(logger)) {}

  RankLinks links_;
  std::shared_ptr<spdlog::logger> logger_;  // may be null
  std::vector<std::unique_ptr<ChosenAllReduce>> chosen_;
};

}  // namespace inferd::runtime
