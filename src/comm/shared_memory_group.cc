#include "inferd/comm/shared_memory_group.h"

#include <string>
#include <utility>

#include "comm/fabric_communicator.h"
#include "comm/segment.h"
#include "comm/segment_fabric.h"

namespace inferd {

StatusOr<UniqueFd> CreateSharedMemorySegment(int world_size, const CommOptions& options) {
  INFERD_RETURN_IF_ERROR(CheckGroup(0, world_size, options));
  const auto chunk = static_cast<size_t>(options.chunk_bytes);
  const size_t bytes = SegmentLayout(nullptr, world_size, chunk).Bytes();
  INFERD_ASSIGN_OR_RETURN(UniqueFd fd, NewSegment("inferd-comm", bytes));
  INFERD_ASSIGN_OR_RETURN(const auto mapping, MapSegment(fd, bytes));
  SegmentHead& head = SegmentLayout(mapping->base(), world_size, chunk).Head();
  head.magic = kSegmentMagic;
  head.world_size = static_cast<uint64_t>(world_size);
  head.chunk_bytes = chunk;
  return fd;
}

StatusOr<std::unique_ptr<Communicator>> JoinSharedMemoryGroup(int segment_fd, int rank,
                                                              int world_size,
                                                              const CommOptions& options,
                                                              const Clock& clock) {
  INFERD_RETURN_IF_ERROR(CheckGroup(rank, world_size, options));
  const auto chunk = static_cast<size_t>(options.chunk_bytes);
  const size_t bytes = SegmentLayout(nullptr, world_size, chunk).Bytes();
  INFERD_ASSIGN_OR_RETURN(UniqueFd own, ReopenSegment(segment_fd, bytes));
  INFERD_ASSIGN_OR_RETURN(auto mapping, MapSegment(own, bytes));
  const SegmentHead& head = SegmentLayout(mapping->base(), world_size, chunk).Head();
  if (head.magic != kSegmentMagic || head.world_size != static_cast<uint64_t>(world_size) ||
      head.chunk_bytes != chunk) {
    return FailedPreconditionError("the segment is of a group of another shape");
  }
  auto presence = std::make_shared<Presence>(std::move(own));
  INFERD_RETURN_IF_ERROR(presence->Take(rank, "rank " + std::to_string(rank)));
  auto fabric = std::make_unique<SegmentFabric>(
      std::move(mapping), rank, world_size, chunk,
      [presence](int peer) { return presence->IsAlive(peer); }, clock);
  INFERD_RETURN_IF_ERROR(fabric->Join());
  fabric->SetDeadline(clock.NowUs() + options.timeout_us);
  if (Status status = fabric->AwaitAll(); !status.ok()) {
    fabric->Break(status.code());
    return status;
  }
  return std::unique_ptr<Communicator>(
      std::make_unique<FabricCommunicator>(std::move(fabric), rank, world_size, options, clock));
}

}  // namespace inferd
