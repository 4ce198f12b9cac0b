#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"
#include "inferd/model/parallel.h"
#include "runtime/rank_messages.h"

namespace inferd::runtime {

// The shared memory of all groups whose ranks are all on one host, for one attempt to run them.
// One thread.
class HostSegments {
 public:
  // Of the host of the `count` world ranks from `first` on.
  static StatusOr<HostSegments> Create(const ParallelShape& shape, int first, int count);

  // Says in the greeting of rank `rank`, which is of the host, which of its groups are there,
  // and adds their descriptors, which stay this object's.
  void AddTo(RankGreeting& greeting, int rank, std::vector<int>& fds) const;

 private:
  explicit HostSegments(const ParallelShape& shape) : shape_(shape) {}

  ParallelShape shape_;
  // By link and the first world rank of the group.
  std::array<std::vector<std::pair<int, UniqueFd>>, kNumLinks> segments_;
};

}  // namespace inferd::runtime
