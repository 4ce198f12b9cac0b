#include "inferd/comm/thread_group.h"

#include <sys/mman.h>

#include <utility>

#include "comm/fabric_communicator.h"
#include "comm/segment_fabric.h"

namespace inferd {

StatusOr<std::vector<std::unique_ptr<Communicator>>> MakeThreadGroup(int world_size,
                                                                     const CommOptions& options,
                                                                     const Clock& clock) {
  INFERD_RETURN_IF_ERROR(CheckGroup(0, world_size, options));
  const auto chunk = static_cast<size_t>(options.chunk_bytes);
  const size_t bytes = SegmentLayout(nullptr, world_size, chunk).Bytes();
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return ResourceExhaustedError("no " + std::to_string(bytes) + " bytes for a group of threads");
  }
  const auto mapping = std::make_shared<const SegmentMapping>(base, bytes);
  std::vector<std::unique_ptr<Communicator>> group;
  group.reserve(static_cast<size_t>(world_size));
  for (int r = 0; r < world_size; ++r) {
    auto fabric = std::make_unique<SegmentFabric>(mapping, r, world_size, chunk, nullptr, clock);
    INFERD_RETURN_IF_ERROR(fabric->Join());
    group.push_back(
        std::make_unique<FabricCommunicator>(std::move(fabric), r, world_size, options, clock));
  }
  return group;
}

}  // namespace inferd
