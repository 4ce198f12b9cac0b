// Host channels between processes of one host, over anonymous shared memory.
#pragma once

#include <cstdint>
#include <memory>

#include "inferd/base/clock.h"
#include "inferd/base/unique_fd.h"
#include "inferd/comm/host_channel.h"

namespace inferd {

enum class HostSide : uint8_t { kEngine = 0, kRank = 1 };

struct SharedMemoryChannelOptions {
  HostChannelOptions channel;
  // Of each direction; a power of two from 4 KiB to 1 GiB, the same on both sides. A
  // longer message goes through it in pieces.
  int64_t ring_bytes = 1 << 20;
};

// The memory of one channel, once per channel: whoever starts the rank makes it and
// hands it down (it is close-on-exec). Its size is sealed.
StatusOr<UniqueFd> CreateChannelSegment(const SharedMemoryChannelOptions& options);

// Opens one side; waits for nobody. ALREADY_EXISTS when this side is or was taken,
// FAILED_PRECONDITION when the segment is of another shape or epoch. `segment_fd` stays
// the caller's. The death of the process at the other end, once it has opened its side,
// is noticed within 50 ms of waiting for it; before that only Abort() tells. `clock`
// outlives the result.
StatusOr<std::unique_ptr<HostChannel>> OpenSharedMemoryChannel(
    int segment_fd, HostSide side, const SharedMemoryChannelOptions& options, const Clock& clock);

}  // namespace inferd
