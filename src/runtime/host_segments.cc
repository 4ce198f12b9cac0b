#include "runtime/host_segments.h"

#include "inferd/comm/shared_memory_group.h"
#include "runtime/group_timeout.h"

namespace inferd::runtime {

StatusOr<HostSegments> HostSegments::Create(const ParallelShape& shape, int first, int count) {
  CommOptions comm;
  comm.timeout_us = kGroupTimeoutUs;
  HostSegments all(shape);
  for (int rank = first; rank < first + count; ++rank) {
    for (size_t link = 0; link < kNumLinks; ++link) {
      const std::vector<int> ranks = LinkRanks(shape, rank, link);
      const bool here = ranks.front() >= first && ranks.back() < first + count;
      if (ranks.size() < 2 || !here || ranks.front() != rank) continue;
      INFERD_ASSIGN_OR_RETURN(UniqueFd segment,
                              CreateSharedMemorySegment(static_cast<int>(ranks.size()), comm));
      all.segments_[link].emplace_back(rank, std::move(segment));
    }
  }
  return all;
}

void HostSegments::AddTo(RankGreeting& greeting, int rank, std::vector<int>& fds) const {
  greeting.shared_shape = shape_;
  for (size_t link = 0; link < kNumLinks; ++link) {
    const std::vector<int> ranks = LinkRanks(shape_, rank, link);
    for (const auto& [first, segment] : segments_[link]) {
      if (ranks.size() < 2 || first != ranks.front()) continue;
      greeting.shared_links |= static_cast<uint8_t>(1U << link);
      fds.push_back(segment.get());
    }
  }
}

}  // namespace inferd::runtime
