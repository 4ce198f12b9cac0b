#include "runtime/rank_links.h"

#include <algorithm>

#include "inferd/comm/shared_memory_group.h"
#include "inferd/comm/tcp_group.h"

namespace inferd::runtime {
namespace {

// The other ranks were there when this one was told of them.
constexpr int64_t kJoinTimeoutUs = 20'000'000;

StatusOr<std::unique_ptr<Communicator>> JoinOne(const RankSetup& setup, const std::string& key,
                                                size_t link, const std::vector<int>& ranks,
                                                int segment, EntropySource& entropy,
                                                const Clock& clock) {
  const auto self = std::find(ranks.begin(), ranks.end(), setup.place.world_rank());
  const auto rank = static_cast<int>(self - ranks.begin());
  const auto size = static_cast<int>(ranks.size());
  if (segment >= 0) return JoinSharedMemoryGroup(segment, rank, size, setup.comm, clock);
  if (setup.addresses.empty()) return InternalError("a group without a place to meet");
  TcpGroupOptions options;
  options.comm = setup.comm;
  options.rank = rank;
  for (const int r : ranks) {
    options.addresses.push_back(setup.addresses[static_cast<size_t>(r) * kNumLinks + link]);
  }
  options.key = key;
  options.epoch = setup.epoch;
  options.join_timeout_us = kJoinTimeoutUs;
  return ConnectTcpGroup(options, entropy, clock);
}

}  // namespace

StatusOr<ProcessLinks> ProcessLinks::Join(const RankSetup& setup, const std::string& key,
                                          const std::array<UniqueFd, kNumLinks>& segments,
                                          EntropySource& entropy, const Clock& clock) {
  ProcessLinks all;
  for (size_t link = 0; link < kNumLinks; ++link) {
    const std::vector<int> ranks = LinkRanks(setup.place.shape, setup.place.world_rank(), link);
    if (ranks.size() < 2) continue;
    INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> end,
                            JoinOne(setup, key, link, ranks, segments[link].get(), entropy, clock));
    all.links_.*LinkMember(setup.place, link) = end.get();
    all.ends_.push_back(std::move(end));
  }
  return all;
}

void ProcessLinks::Abort() {
  for (const std::unique_ptr<Communicator>& end : ends_) end->Abort();
}

}  // namespace inferd::runtime
